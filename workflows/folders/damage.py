"""Errors that a damaged folder causes, told from errors of the program."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from cawa_core.errors import InputError, counted, first_line
from cawa_core.storage import Folder, StorageError, open_storage
from workflows.folders.faults import HARMLESS


@contextmanager
def damage_named(*folders: Folder) -> Iterator[None]:
    """Turn an error while results are read into bad input if verification finds the damage that explains it.

    Documents and digests are checked when they are read. This is for what only their use shows: results that are well
    formed one by one and do not fit together.

    Raises:
        InputError: a folder is damaged; the message names the first fault.
    """
    try:
        yield
    except (InputError, StorageError):
        raise
    except Exception as error:
        from workflows.folders.verify import verify  # imports PyTorch, which a healthy folder's status does not need

        for storage in map(open_storage, folders):
            faults = [fault for fault in verify(storage).faults if fault.kind not in HARMLESS]
            if faults:
                raise InputError(
                    f"{storage.url} is damaged: {counted(len(faults), 'fault')}, the first: {faults[0]}; "
                    f"`cawa verify {storage.url}` lists them ({type(error).__name__}: {first_line(error)})"
                ) from error
        raise
