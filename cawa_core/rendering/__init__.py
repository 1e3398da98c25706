"""What a person looks at: findings in words, figures, the report."""
