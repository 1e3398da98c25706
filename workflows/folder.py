"""The audit folder: opened for one audit only, described by ``audit.json`` before anything else is written."""

from __future__ import annotations

import json
import platform
from importlib.metadata import version

from cawa_core import __version__
from cawa_core.audit_record import AuditRecord
from cawa_core.errors import InputError
from cawa_core.specs import AuditIdentity
from cawa_core.storage import Folder, Storage, StorageRefusedError, open_storage

AUDIT, SUMMARY, REPORT = "audit.json", "summary.json", "report.html"
LIBRARIES = ("torch", "torchvision", "numpy", "scipy", "pandas", "pyarrow", "ray")


def require_folder_for(storage: Storage, identity: AuditIdentity) -> bool:
    """Check that the folder may hold this audit, and change nothing; says whether it holds it already.

    Raises:
        InputError: not a folder, not to be used, not empty without being an audit, or of another audit.
        StorageError: the store fails.
    """
    storage.require_folder()
    try:
        if storage.exists(AUDIT):
            require_same(storage, identity)
            return True
        if not storage.is_empty():
            raise InputError(
                f"output must be new, empty or an audit folder; {storage.url} holds other files, choose another "
                "--output"
            )
    except StorageRefusedError as error:
        raise InputError(f"output cannot be used: {error}; choose another --output") from None
    return False


def open_folder(storage: Storage, identity: AuditIdentity, device: str, class_names: tuple[str, ...]) -> None:
    """Make sure that the folder belongs to this audit, creating it where it is new; the caller holds its lock.

    Raises:
        InputError: as :func:`require_folder_for`, or it cannot be written.
        StorageError: the store fails.
    """
    if require_folder_for(storage, identity):
        return
    try:
        storage.write(AUDIT, json.dumps(_record(identity, device, class_names).as_data(), indent=1).encode())
    except StorageRefusedError as error:
        raise InputError(f"output cannot be written: {error}; choose another --output") from None


def opened_audit(folder: Folder) -> Storage:
    """The storage of a folder that holds an audit.

    Raises:
        InputError: it holds none.
    """
    storage = open_storage(folder)
    read_audit(storage)
    return storage


def read_audit(folder: Folder) -> AuditRecord:
    """``audit.json`` of an audit folder.

    Raises:
        InputError: the folder holds no audit.
    """
    storage = open_storage(folder)
    try:
        return AuditRecord.from_json(storage.read(AUDIT))
    except FileNotFoundError:
        raise InputError(f"{storage.url} is no audit folder: it has no {AUDIT}; run `cawa audit` first") from None
    except ValueError as error:
        raise InputError(f"{storage.path(AUDIT)} does not describe an audit: {error}; choose another folder") from None


def require_same(storage: Storage, identity: AuditIdentity) -> None:
    """Check that a folder holds this very audit.

    Raises:
        InputError: it holds another; the message says in which options they differ.
    """
    found = read_audit(storage)
    if found.hash == identity.hash:
        return
    ours, theirs = identity.as_recorded().named(), found.identity.named()
    differences = [
        f"{key} {theirs.get(key)!r} there, {ours.get(key)!r} now"
        for key in sorted(ours | theirs)
        if ours.get(key) != theirs.get(key)
    ]
    raise InputError(
        f"{storage.url} holds an audit with another spec: {'; '.join(differences)}. "
        "Choose another --output or remove it"
    )


def _record(identity: AuditIdentity, device: str, class_names: tuple[str, ...]) -> AuditRecord:
    return AuditRecord(
        hash=identity.hash,
        identity=identity.as_recorded(),
        class_names={int(class_id): class_names[int(class_id)] for class_id in identity.spec.classes},
        versions={"cawa": __version__, "python": platform.python_version()}
        | {name: version(name) for name in LIBRARIES},
        device=device,
    )
