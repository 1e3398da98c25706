"""The audit folder: opened for one audit only, described by ``audit.json`` before anything else is written."""

from __future__ import annotations

import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cawa_core import __version__
from cawa_core.errors import InputError
from cawa_core.specs import AuditIdentity
from cawa_core.tables import write_atomically

LIBRARIES = ("torch", "torchvision", "numpy", "scipy", "pandas", "pyarrow", "ray")


def open_folder(folder: Path, identity: AuditIdentity, device: str) -> None:
    """Make sure that the folder belongs to this audit, creating it where it is new.

    Raises:
        InputError: not a folder, not writable, not empty without being an audit, or of another audit.
    """
    described = folder / "audit.json"
    try:
        if folder.exists() and not folder.is_dir():
            raise InputError(f"output must be a folder; {folder} is a file, choose another --output")
        if described.exists():
            _require_same(folder, json.loads(described.read_text()), identity)
            return
        if folder.exists() and any(folder.iterdir()):
            raise InputError(
                f"output must be new, empty or an audit folder; {folder} holds other files, choose another --output"
            )
        write_atomically(described, json.dumps(_description(identity, device), indent=1).encode())
    except json.JSONDecodeError as error:
        raise InputError(f"{described} is damaged ({error}); choose another --output or remove the folder") from None
    except OSError as error:
        raise InputError(f"output {folder} cannot be written: {error.strerror}; choose another --output") from None


def read_audit(folder: Path) -> dict[str, Any]:
    """``audit.json`` of an audit folder.

    Raises:
        InputError: the folder holds no audit.
    """
    try:
        return json.loads((folder / "audit.json").read_text())  # type: ignore[no-any-return]
    except OSError:
        raise InputError(f"{folder} is no audit folder: it has no audit.json; run `cawa audit` first") from None
    except json.JSONDecodeError as error:
        raise InputError(f"{folder / 'audit.json'} is damaged: {error}") from None


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
    return {**{key: value for key, value in data.items() if key != "spec"}, **data.get("spec", {})}


def _description(identity: AuditIdentity, device: str) -> dict[str, Any]:
    return {
        "hash": identity.hash,
        "identity": identity.as_data(),
        "versions": {"cawa": __version__, "python": platform.python_version()}
        | {name: version(name) for name in LIBRARIES},
        "device": device,
    }
