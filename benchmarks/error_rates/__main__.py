"""Print the error rates of verdicts, of comparisons and of ticked images, as the Markdown tables of the documentation.

``python -m benchmarks.error_rates`` takes about half an hour on one core; names of tables print only those.
"""

from __future__ import annotations

import sys

from benchmarks.error_rates.concepts import concept_table
from benchmarks.error_rates.correlations import correlation_table
from benchmarks.error_rates.medians import median_table
from benchmarks.error_rates.positives import positive_table
from benchmarks.error_rates.seeds import seed_table

TABLES = {
    "correlations": correlation_table,
    "medians": median_table,
    "seeds": seed_table,
    "concepts": concept_table,
    "positives": positive_table,
}


def main() -> None:
    """Print the tables that the arguments name, or all of them."""
    names = sys.argv[1:] or list(TABLES)
    for name in names:
        if name not in TABLES:
            sys.exit(f"table must be one of {', '.join(TABLES)}; got {name!r}")
        print(TABLES[name](), flush=True)


if __name__ == "__main__":
    main()
