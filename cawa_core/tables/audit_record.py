"""Content of ``audit.json``: which audit a folder holds, and the software that computed it."""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

REQUIRED_OPTIONS = ("generator", "classes", "stages")
"""Options that audits of every version have."""


@dataclasses.dataclass(frozen=True)
class RecordedIdentity:
    """An :class:`~workflows.folders.identity.AuditIdentity` as recorded by any version.

    Attributes:
        spec: options as plain data, with classes as indices.
        digests: SHA-256 of the weights or data of each model or set, by its role in the spec.
        protocols: preprocessing and feature layer of each network that processes images, by its role, and what the
            generator tells about its weights.
        schema_version: version of the tables.
        class_digests: SHA-256 of the real images of each class that was read.
    """

    spec: dict[str, Any]
    digests: dict[str, str]
    protocols: dict[str, str]
    schema_version: int
    class_digests: dict[int, str] = dataclasses.field(default_factory=dict)

    def named(self) -> dict[str, Any]:
        """Return all parts in one flat mapping, with names for messages and pages."""
        digests = {f"digest of {role}": digest for role, digest in self.digests.items()}
        protocols = {f"protocol of {role}": protocol for role, protocol in self.protocols.items()}
        return {"schema version": self.schema_version, **self.spec, **digests, **protocols}


@dataclasses.dataclass(frozen=True)
class AnalysisRecord:
    """Record of one analysis in a folder.

    Attributes:
        hash: name of its results, which depends on everything that changes them.
        options: options that change its results, as plain data.
        class_ids: classes that it covers once it is complete, ascending.
        unit: noun for its units of work, in the plural.
        n_units: number of units of these classes.
    """

    hash: str
    options: dict[str, Any]
    class_ids: tuple[int, ...]
    unit: str = "classes"
    n_units: int = 0


@dataclasses.dataclass(frozen=True)
class AuditRecord:
    """The content of ``audit.json``.

    Attributes:
        hash: name of the audit: SHA-256 of its subject.
        identity: everything that determines the results; its classes and stages are those of the whole folder.
        class_names: names of the audited classes, and of those that they are mixed with, by index.
        versions: versions of this project, of Python and of libraries.
        device: kind of device that the audit was started on.
        analyses: analyses by name, in the order of the pipeline.
        replacing: new records of the analyses whose results are being replaced.
    """

    hash: str
    identity: RecordedIdentity
    class_names: dict[int, str]
    versions: dict[str, str]
    device: str
    analyses: dict[str, AnalysisRecord] = dataclasses.field(default_factory=dict)
    replacing: dict[str, AnalysisRecord] = dataclasses.field(default_factory=dict)

    @property
    def spec(self) -> dict[str, Any]:
        """Options of the audit as plain data."""
        return self.identity.spec

    @property
    def class_ids(self) -> list[int]:
        """Audited classes, in the order of the spec."""
        return list(self.spec["classes"])

    @classmethod
    def from_json(cls, content: bytes) -> AuditRecord:
        """Parse the content of ``audit.json``.

        Raises:
            ValueError: the content is not an audit record.
        """
        try:
            record: AuditRecord = _adapter().validate_json(content)
        except ValidationError as error:
            fault = error.errors()[0]
            where = ".".join(map(str, fault["loc"]))
            raise ValueError(f"{where}: {fault['msg']}" if where else fault["msg"]) from None
        missing = [name for name in REQUIRED_OPTIONS if name not in record.spec]
        if missing:
            raise ValueError(f"its spec has no {missing[0]}")
        if not record.analyses:  # written by a version whose folders could not grow
            analysis = AnalysisRecord(record.hash, {}, tuple(sorted(record.class_ids)))
            return dataclasses.replace(record, analyses=dict.fromkeys(record.spec["stages"], analysis))
        return record

    def as_data(self) -> dict[str, Any]:
        """Return the record as JSON-serialisable data."""
        return dataclasses.asdict(self)


@cache
def _adapter() -> TypeAdapter[AuditRecord]:
    return TypeAdapter(AuditRecord)
