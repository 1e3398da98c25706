"""Where the files of a model are: at a given path, else in the cache, else on the network."""

from __future__ import annotations

import dataclasses
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from cawa_core.errors import InputError
from cawa_core.weights.fetch import by_hand, fetch
from cawa_core.weights.known import is_known, known_file, known_files
from cawa_core.weights.partial import Progress
from cawa_core.weights.record import verified

LINE_EVERY_SECONDS = 5.0
"""Between two lines about a download."""


def default_cache() -> Path:
    """``$CAWA_CACHE``, else ``$XDG_CACHE_HOME/cawa``, else ``~/.cache/cawa``."""
    chosen = os.environ.get("CAWA_CACHE")
    if chosen:
        return Path(chosen).expanduser().absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cawa"


@dataclasses.dataclass(frozen=True)
class WeightStore:
    """Finds the files of models; travels to other processes.

    Attributes:
        given: model name => the file or folder that the user gave, used as it is.
        cache: folder of what was fetched, ``cache/<model>/<filename>``; empty for :func:`default_cache`.
        offline: never touch the network.
    """

    given: Mapping[str, str] = dataclasses.field(default_factory=dict)
    cache: str = ""
    offline: bool = False

    def is_given(self, name: str) -> bool:
        """Whether the user gave a path for this model."""
        return name in self.given

    def files(self, name: str, filenames: Sequence[str]) -> dict[str, Path]:
        """Filename => path of each of these files of a model, fetched where needed and allowed.

        A given file serves when one filename is asked for, whatever it is called; files of the cache are
        verified by digest, given ones are not.

        Raises:
            InputError: a file is missing, damaged or cannot be fetched.
        """
        if self.is_given(name):
            return _given_files(name, Path(self.given[name]).expanduser(), filenames)
        return {filename: self._cached(name, filename) for filename in filenames}

    def file(self, name: str) -> Path:
        """The one file of a model that is known by one file, or the file that was given for it.

        Raises:
            InputError: as for :meth:`files`.
        """
        given = Path(self.given.get(name, "")).expanduser()
        if self.is_given(name):
            if given.is_file():
                return given
            if not given.exists():
                raise InputError(f"weights of {name} must be a file; {given} does not exist: give --weights its path")
            if not is_known(name):
                raise InputError(f"weights of {name} must be a file; {given} is a folder: give the file in it")
        filename = _only_filename(name)
        return self.files(name, [filename])[filename]

    def _cached(self, name: str, filename: str) -> Path:
        known = known_file(name, filename)
        folder = Path(self.cache).expanduser() if self.cache else default_cache()
        path = folder / name / filename
        if path.exists():
            return verified(path, known.sha256_prefix)
        if self.offline:
            raise InputError(
                f"{filename} of {name} is not at {path}, and may not be fetched (offline); {by_hand(known.url, path)}"
            )
        return fetch(known.url, path, known.sha256_prefix, progress_lines(filename))


def progress_lines(filename: str) -> Progress:
    """Says on stderr every few seconds how much of a file is there; short downloads are silent."""
    last = time.monotonic()

    def progress(there: int, total: int | None) -> None:
        nonlocal last
        if time.monotonic() - last > LINE_EVERY_SECONDS:
            last = time.monotonic()
            whole = f" of {total / 1e6:.0f}" if total else ""
            print(f"fetching {filename}: {there / 1e6:.0f}{whole} MB", file=sys.stderr, flush=True)

    return progress


def _given_files(name: str, given: Path, filenames: Sequence[str]) -> dict[str, Path]:
    wanted = ", ".join(filenames)
    if given.is_file():
        if len(filenames) != 1:
            raise InputError(
                f"weights of {name} must be a folder with {wanted}; got the file {given}: give --weights the folder"
            )
        return {filenames[0]: given}
    if not given.is_dir():
        raise InputError(
            f"weights of {name} must be a file or folder with {wanted}; {given} does not exist: "
            f"give --weights another PATH"
        )
    missing = [filename for filename in filenames if not (given / filename).is_file()]
    if missing:
        raise InputError(
            f"weights of {name} must be a folder with {wanted}; {given} lacks {missing[0]}: "
            f"add it, or give --weights another PATH"
        )
    return {filename: given / filename for filename in filenames}


def _only_filename(name: str) -> str:
    files = known_files(name)
    if len(files) != 1:
        raise InputError(
            f"weights of {name} are {len(files)} files, {', '.join(file.filename for file in files)}; "
            f"ask for them by name"
        )
    return files[0].filename
