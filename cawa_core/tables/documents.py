"""JSON documents of an audit folder: written with a seal, and read through a typed model, as they may come from anyone.

The seal is the SHA-256 of the rest of the document, in its first line. So a document is written together with its
digest, and one that something other than cawa has changed can be told from one that is older.
"""

from __future__ import annotations

import json
import re
from collections.abc import Hashable, Mapping
from functools import cache
from typing import Annotated, Any, TypeVar, cast

from pydantic import AfterValidator, Field, StringConstraints, TypeAdapter, ValidationError

from cawa_core.digests import digest_of_bytes
from cawa_core.errors import InputError, bounded
from cawa_core.storage import Storage
from cawa_core.storage.names import require_inside

Document = TypeVar("Document")

MANIFEST = "manifest.json"
CHANGED = "it was changed after cawa wrote it"
SEAL = re.compile(rb'\{\n "digest": "([0-9a-f]{64})",\n')

Name = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z_-][0-9A-Za-z_.-]*$")]
"""A name or hash that may become part of a file's name; it does not begin with a dot."""
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Index = Annotated[int, Field(ge=0, lt=2**31)]
"""Index of a class or a site, or a number of rows or units."""
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
PlainPath = Annotated[str, AfterValidator(require_inside)]
"""A normalised path relative to the folder, which does not leave it."""


def sealed(data: Mapping[str, Any]) -> bytes:
    """Return a document with its seal.

    Args:
        data: content: JSON-serialisable, not empty, without an entry ``digest``.
    """
    rest = json.dumps(data, indent=1).removeprefix("{\n").encode()
    return b'{\n "digest": "%s",\n%s' % (digest_of_bytes(rest).encode(), rest)


def is_as_written(content: bytes, digest: str) -> bool:
    """Return whether a document is as :func:`sealed` returned it; one without a seal counts as such.

    Args:
        content: the document.
        digest: its entry ``digest``; empty if it has none, as those of earlier versions.
    """
    seal = SEAL.match(content)
    if seal is None:
        return not digest
    return digest_of_bytes(content[seal.end() :]) == seal[1].decode() == digest


def parsed(kind: type[Document], content: bytes) -> Document:
    """Read a document through the typed model of its content.

    Raises:
        ValueError: the content is not of this type; the message names the field, what is allowed and what came.
    """
    try:
        document: Document = _adapter(cast(Hashable, kind)).validate_json(content, strict=True)
    except ValidationError as error:
        raise ValueError(fault_in_words(error)) from None
    return document


@cache
def _adapter(kind: Hashable) -> TypeAdapter[Any]:
    return TypeAdapter(cast(Any, kind))


def fault_in_words(error: ValidationError) -> str:
    """Return the first fault that a validation found: the path of the field, what is allowed, and what came."""
    fault = error.errors(include_url=False)[0]
    message = fault["msg"].removeprefix("Value error, ")
    where = ".".join(str(part) for part in fault["loc"])
    says_what_came = fault["type"] in ("json_invalid", "value_error", "missing")
    came = "" if says_what_came else f"; got {bounded(fault['input'])}"
    return f"{bounded(where, quoted=False)}: {message}{came}" if where else f"{message}{came}"


_REMEDY = "restore it, or run `cawa verify --rebuild {url}`, which makes it again from the tables"


class DamagedManifestError(InputError):
    """``manifest.json`` or its journal is not what cawa writes."""

    def __init__(self, storage: Storage, fault: str) -> None:
        super().__init__(f"{storage.path(MANIFEST)} is damaged ({fault}); {_REMEDY.format(url=storage.url)}")


class LostManifestError(InputError):
    """A folder holds results, but no record of them."""

    def __init__(self, storage: Storage) -> None:
        super().__init__(
            f"{storage.url} has tables but no {MANIFEST}, which says what they hold; {_REMEDY.format(url=storage.url)}"
        )
