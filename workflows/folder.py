"""The audit folder: opened for one audit only, described by ``audit.json`` before anything else is written."""

from __future__ import annotations

import fcntl
import json
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cawa_core import __version__
from cawa_core.errors import InputError
from cawa_core.specs import AuditIdentity
from cawa_core.tables import write_atomically

LIBRARIES = ("torch", "torchvision", "numpy", "scipy", "pandas", "pyarrow", "ray")


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder against other drivers of this machine; released when the process ends, however it ends.

    Raises:
        InputError: another driver holds it, or the folder cannot be written.
    """
    try:
        handle = (folder / ".lock").open("a")
    except OSError as error:
        raise InputError(f"output {folder} cannot be written: {error.strerror}; choose another --output") from None
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(f"another cawa is at work in {folder}; wait for it, or choose another --output") from None
        yield


def open_folder(folder: Path, identity: AuditIdentity, device: str, class_names: tuple[str, ...]) -> None:
    """Make sure that the folder belongs to this audit, creating it where it is new.

    Raises:
        InputError: not a folder, not writable, not empty without being an audit, or of another audit.
    """
    described = folder / "audit.json"
    if "://" in str(folder) or str(folder).startswith(("s3:", "gs:")):
        raise InputError(f"output must be a folder of a file system that every worker sees; got {folder}")
    try:
        if folder.exists() and not folder.is_dir():
            raise InputError(f"output must be a folder; {folder} is a file, choose another --output")
        if described.exists():
            _require_same(folder, read_audit(folder), identity)
            return
        if folder.exists() and any(path.name != ".lock" for path in folder.iterdir()):
            raise InputError(
                f"output must be new, empty or an audit folder; {folder} holds other files, choose another --output"
            )
        write_atomically(described, json.dumps(_description(identity, device, class_names), indent=1).encode())
    except OSError as error:
        raise InputError(f"output {folder} cannot be written: {error.strerror}; choose another --output") from None


def read_audit(folder: Path) -> dict[str, Any]:
    """``audit.json`` of an audit folder.

    Raises:
        InputError: the folder holds no audit.
    """
    try:
        audit = json.loads((folder / "audit.json").read_text())
    except OSError:
        raise InputError(f"{folder} is no audit folder: it has no audit.json; run `cawa audit` first") from None
    except ValueError as error:
        raise InputError(f"{folder / 'audit.json'} is damaged: {error}; choose another folder") from None
    if not isinstance(audit, dict) or not {"hash", "identity", "versions", "class_names"} <= set(audit):
        raise InputError(f"{folder / 'audit.json'} does not describe an audit; choose another folder")
    return audit


def _require_same(folder: Path, found: dict[str, Any], identity: AuditIdentity) -> None:
    if found.get("hash") == identity.hash:
        return
    ours, theirs = _flat(identity.as_data()), _flat(found.get("identity", {}))
    differences = [
        f"{key} {theirs.get(key)!r} there, {ours.get(key)!r} now"
        for key in sorted(ours | theirs)
        if ours.get(key) != theirs.get(key)
    ]
    raise InputError(
        f"{folder} holds an audit with another spec: {'; '.join(differences)}. Choose another --output or remove it"
    )


def _flat(data: dict[str, Any]) -> dict[str, Any]:
    """Options under their own names, digests and protocols with their roles."""
    named = {
        f"{kind} of {role}": value for kind in ("digests", "protocols") for role, value in data.get(kind, {}).items()
    }
    return {"schema_version": data.get("schema_version"), **named, **data.get("spec", {})}


def _description(identity: AuditIdentity, device: str, class_names: tuple[str, ...]) -> dict[str, Any]:
    return {
        "hash": identity.hash,
        "identity": identity.as_data(),
        "class_names": {str(class_id): class_names[int(class_id)] for class_id in identity.spec.classes},
        "versions": {"cawa": __version__, "python": platform.python_version()}
        | {name: version(name) for name in LIBRARIES},
        "device": device,
    }
