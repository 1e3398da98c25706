"""Content of ``audit.json``: which audit a folder holds, and the software that computed it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from cawa_core.errors import bounded
from cawa_core.tables.documents import CHANGED, Index, Name, is_as_written, parsed, sealed

REQUIRED_OPTIONS = ("generator", "classes", "stages", "seed")
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
    class_digests: dict[Index, str] = dataclasses.field(default_factory=dict)

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

    hash: Name
    options: dict[str, Any]
    class_ids: tuple[Index, ...]
    unit: str = "classes"
    n_units: Index = 0


@dataclasses.dataclass(frozen=True)
class AuditRecord:
    """The content of ``audit.json``.

    Attributes:
        hash: name of the audit: SHA-256 of its subject.
        identity: everything that determines the results; its classes and stages are those of the whole folder.
        class_names: names of the audited classes, and of those that they are mixed with, by index.
        wordnet_ids: WordNet ids of the same classes; empty if they have none, or for audits of earlier versions.
        versions: versions of this project, of Python and of libraries.
        device: kind of device that the audit was started on.
        analyses: analyses by name, in the order of the pipeline.
        replacing: new records of the analyses whose results are being replaced.
    """

    hash: Name
    identity: RecordedIdentity
    class_names: dict[Index, str]
    versions: dict[str, str]
    device: str
    analyses: dict[str, AnalysisRecord] = dataclasses.field(default_factory=dict)
    replacing: dict[str, AnalysisRecord] = dataclasses.field(default_factory=dict)
    wordnet_ids: dict[Index, str] = dataclasses.field(default_factory=dict)

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
            ValueError: the content is not an audit record, or was changed after it was written.
        """
        document = parsed(_Document, content)
        if not is_as_written(content, document.digest):
            raise ValueError(CHANGED)
        values = {field.name: getattr(document, field.name) for field in dataclasses.fields(cls)}
        record = cls(**values)
        _check_coverage(record)
        if not record.analyses:  # written by a version whose folders could not grow
            analysis = AnalysisRecord(record.hash, {}, tuple(sorted(record.class_ids)))
            return dataclasses.replace(record, analyses=dict.fromkeys(record.spec["stages"], analysis))
        return record

    def as_json(self) -> bytes:
        """Return the content of ``audit.json``."""
        return sealed(dataclasses.asdict(self))


@dataclasses.dataclass(frozen=True)
class _Document(AuditRecord):
    """An audit record with its seal; earlier versions had none."""

    digest: str = ""


def _check_coverage(record: AuditRecord) -> None:
    """Check that the recorded options say what was audited, and that the classes of every analysis have names.

    Raises:
        ValueError: an option is missing or of another type, or a class has no name.
    """
    missing = [name for name in REQUIRED_OPTIONS if name not in record.spec]
    if missing:
        raise ValueError(f"its spec has no {missing[0]}")
    generator, classes, stages, _ = (record.spec[name] for name in REQUIRED_OPTIONS)
    if "generator" not in record.identity.digests:
        raise ValueError("identity.digests has no generator")
    if not isinstance(generator, str):
        raise ValueError(f"identity.spec.generator must be text; got {bounded(generator)}")
    if not (isinstance(stages, list) and all(isinstance(stage, str) for stage in stages)):
        raise ValueError(f"identity.spec.stages must be names of analyses; got {bounded(stages)}")
    if not (isinstance(classes, list) and all(type(class_id) is int for class_id in classes)):
        raise ValueError(f"identity.spec.classes must be indices of classes; got {bounded(classes)}")
    _check_names(record, "identity.spec", classes)
    for group, analyses in (("analyses", record.analyses), ("replacing", record.replacing)):
        for name, analysis in analyses.items():
            _check_names(record, f"{group}.{name}", analysis.class_ids)


def _check_names(record: AuditRecord, where: str, class_ids: Iterable[int]) -> None:
    unnamed = [class_id for class_id in class_ids if class_id not in record.class_names]
    if unnamed:
        raise ValueError(f"{where} must have only classes that class_names names; got {bounded(unnamed)}")
