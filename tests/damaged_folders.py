"""A small audited folder, the command line in this process, and what is needed to damage and watch folders."""

import contextlib
import io
import sys
from pathlib import Path

from workflows import cli

TINY = (
    *("--executor", "inline", "--classes", "1,8", "--stages", "awareness,class_metrics"),
    *("--awareness-estimators", "closed_form", "--metric-samples", "20", "--ms-ssim-samples", "4"),
    *("--neighbours", "2", "--overlap-k", "10", "--permutations", "20", "--bootstraps", "20"),
)
"""Options of an audit of seconds: two classes, one analysis in several shards, and one with real images."""


def cawa(*arguments) -> tuple[int, str, str]:
    """Run the command line; return its exit code and what it printed. An error without an exit code is raised."""
    output, errors = io.StringIO(), io.StringIO()
    before = sys.argv
    sys.argv = ["cawa", *map(str, arguments)]
    try:
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
            cli.main()
    except SystemExit as ending:
        return int(ending.code or 0), output.getvalue(), errors.getvalue()
    finally:
        sys.argv = before
    raise AssertionError("the command line ends with an exit code")


def tiny_audit(folder: Path) -> tuple[int, str, str]:
    """Audit into a folder, or resume its audit."""
    return cawa("audit", "--output", folder, *TINY)


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder but locks; links are not followed, and count by where they lead."""
    return {
        path.relative_to(folder).as_posix(): str(path.readlink()).encode() if path.is_symlink() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if (path.is_symlink() or path.is_file()) and path.name != ".lock"
    }
