"""The entry point of ``cawa``, which is also ``python -m workflows``."""

from __future__ import annotations

import sys

from cawa_core.errors import InputError

EXIT_BAD_INPUT = 2


def main() -> None:
    """Run the command line, or say in one line which installed package keeps it from starting."""
    try:
        from workflows.cli import main as run
    except InputError as error:
        print(f"cawa: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(EXIT_BAD_INPUT)
    run()


if __name__ == "__main__":
    main()
