"""``python -m workflows`` is ``cawa``."""

from workflows.cli import main

main()
