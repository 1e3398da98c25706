"""Error rates of verdicts and comparisons by simulation: ``python -m benchmarks.error_rates`` prints their tables."""
