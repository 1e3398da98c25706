"""Location of a model's files: at the user's path, else in the cache, else on the network."""

from __future__ import annotations

import dataclasses
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from cawa_core.errors import InputError
from cawa_core.paths import user_path
from cawa_core.weights.known import is_known, known_file, known_files
from cawa_core.weights.partial import Progress
from cawa_core.weights.record import verified

LINE_EVERY_SECONDS = 5.0
"""Time between two progress lines of a download."""


def default_cache() -> Path:
    """Return ``$CAWA_CACHE``, else ``$XDG_CACHE_HOME/cawa``, else ``~/.cache/cawa``."""
    folder = os.environ.get("CAWA_CACHE")
    if folder:
        return user_path(folder).absolute()
    return user_path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "cawa"


@dataclasses.dataclass(frozen=True)
class WeightStore:
    """Finds the files of models; it can be sent to other processes.

    Attributes:
        given: the user's file or folder by model name, used unchecked.
        cache: folder of fetched files, ``cache/<model>/<filename>``; empty for :func:`default_cache`.
        offline: whether to avoid the network.
    """

    given: Mapping[str, str] = dataclasses.field(default_factory=dict)
    cache: str = ""
    offline: bool = False

    def is_given(self, name: str) -> bool:
        """Return whether the user gave a path for this model."""
        return name in self.given

    def files(self, name: str, filenames: Sequence[str]) -> dict[str, Path]:
        """Find these files of a model by filename, and fetch them if needed and allowed.

        If only one filename is requested, the user's file may have any name. Digests of cached files are verified,
        those of the user's files are not.

        Raises:
            InputError: a file is missing, damaged or cannot be fetched.
        """
        if self.is_given(name):
            return _files_at(user_path(self.given[name]), name, filenames)
        return {filename: self._cached(name, filename) for filename in filenames}

    def file(self, name: str) -> Path:
        """Find the single file of a model: the user's, or the one that is downloadable.

        Raises:
            InputError: see :meth:`files`; or the model has several files.
        """
        path = user_path(self.given.get(name, ""))
        if self.is_given(name):
            if path.is_file():
                return path
            if not path.exists():
                raise InputError(f"weights of {name} must be a file; {path} does not exist: pass its --weights PATH")
            if not path.is_dir():
                raise InputError(f"weights of {name} must be a file; {path} is a pipe or device: pass a file")
            if not is_known(name):
                raise InputError(f"weights of {name} must be a file; {path} is a folder: pass the file in it")
        filename = _only_filename(name)
        return self.files(name, [filename])[filename]

    def _cached(self, name: str, filename: str) -> Path:
        known = known_file(name, filename)
        folder = user_path(self.cache) if self.cache else default_cache()
        path = folder / name / filename
        if path.exists():
            return verified(path, known.sha256_prefix)
        from cawa_core.weights.fetch import by_hand, fetch  # imports an HTTP client, which few runs need

        if self.offline:
            raise InputError(
                f"{filename} of {name} is not at {path}, and may not be fetched (offline); {by_hand(known.url, path)}"
            )
        return fetch(known.url, path, known.sha256_prefix, progress_lines(filename))


def progress_lines(filename: str) -> Progress:
    """Return a callback that prints a download's progress to stderr every few seconds; short downloads are silent."""
    last = time.monotonic()

    def progress(received: int, total: int | None) -> None:
        nonlocal last
        if time.monotonic() - last > LINE_EVERY_SECONDS:
            last = time.monotonic()
            whole = f" of {total / 1e6:.0f}" if total else ""
            print(f"fetching {filename}: {received / 1e6:.0f}{whole} MB", file=sys.stderr, flush=True)

    return progress


def _files_at(path: Path, name: str, filenames: Sequence[str]) -> dict[str, Path]:
    """Find the files of a model at the user's path, a file or a folder."""
    listing = ", ".join(filenames)
    if path.is_file():
        if len(filenames) != 1:
            raise InputError(f"weights of {name} must be a folder with {listing}; got the file {path}: pass the folder")
        return {filenames[0]: path}
    if not path.is_dir():
        raise InputError(
            f"weights of {name} must be a file or folder with {listing}; {path} does not exist: "
            f"pass another --weights PATH"
        )
    missing = [filename for filename in filenames if not (path / filename).is_file()]
    if missing:
        raise InputError(
            f"weights of {name} must be a folder with {listing}; {path} lacks {missing[0]}: "
            f"add it, or pass another --weights PATH"
        )
    return {filename: path / filename for filename in filenames}


def _only_filename(name: str) -> str:
    files = known_files(name)
    if len(files) != 1:
        raise InputError(
            f"weights of {name} are {len(files)} files, {', '.join(file.filename for file in files)}; "
            f"ask for them by name"
        )
    return files[0].filename
