"""Everything that a person reads or looks at: findings, figures, sheets of images and the report."""
