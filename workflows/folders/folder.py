"""The audit folder: opened for one audit only, described by ``audit.json`` before anything else is written."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Callable, Collection, Mapping
from importlib.metadata import version
from typing import Any

from cawa_core import __version__
from cawa_core.errors import InputError, bounded, counted, listed
from cawa_core.generators.class_tables import ClassLabels
from cawa_core.storage import Folder, Storage, StorageRefusedError, UnusableFileError, open_storage
from cawa_core.tables import Manifest
from cawa_core.tables.audit_record import AnalysisRecord, AuditRecord, RecordedIdentity
from cawa_core.tables.documents import MANIFEST
from cawa_core.tables.receipts import HASH_DIGITS
from workflows.analyses import ANALYSES
from workflows.folders.identity import AuditIdentity, digest_of_classes
from workflows.options.audit import recorded_spec
from workflows.options.lab import ROLES, SUBJECT

AUDIT = "audit.json"
LIBRARIES = ("torch", "torchvision", "numpy", "scipy", "pandas", "pyarrow", "ray")


class NoAuditError(InputError):
    """A folder has no ``audit.json``."""


CountUnits = Callable[[str, Collection[int]], int]
"""An analysis and classes => how many units of work these have."""
Cost = Callable[[str, Collection[int]], str]
"""An analysis and the classes that a folder has of it => what it takes to compute them again, in words."""


def no_cost(name: str, class_ids: Collection[int]) -> str:  # noqa: ARG001
    """Name the number of classes, if there is nobody to estimate more."""
    return counted(len(class_ids), "class")


def require_folder_for(
    storage: Storage, identity: AuditIdentity, replace: Collection[str] = (), cost: Cost = no_cost
) -> AuditRecord | None:
    """Check that the folder may hold these results, and change nothing; return what it holds already.

    Args:
        storage: of the folder.
        identity: of the results that will be added.
        replace: analyses whose results may be replaced.
        cost: what it takes to compute an analysis again, in words.

    Raises:
        InputError: not a folder, not to be used, not empty without being an audit, of another subject, or with results
            by other options.
        StorageError: the store fails.
    """
    storage.require_folder()
    try:
        if storage.exists(AUDIT):
            record = read_audit(storage)
            require_same_subject(storage, record, identity)
            _require_same_options(storage, record, identity, replace, cost)
            return record
        if not storage.is_empty():
            raise InputError(
                f"output must be new, empty or an audit folder; {storage.url} holds other files, choose another "
                "--output"
            )
    except StorageRefusedError as error:
        raise InputError(f"output cannot be used: {error}; choose another --output") from None
    return None


def open_folder(
    storage: Storage,
    identity: AuditIdentity,
    device: str,
    labels: ClassLabels,
    count_units: CountUnits,
    replace: Collection[str] = (),
    cost: Cost = no_cost,
) -> AuditRecord:
    """Make the folder one that holds these results, too, creating it where it is new; the caller holds its lock.

    Returns:
        What the folder is to hold; results that replace others are still apart.

    Raises:
        InputError: as :func:`require_folder_for`, or it cannot be written.
        StorageError: the store fails.
    """
    before = require_folder_for(storage, identity, replace, cost)
    record = grown(before, identity, device, labels, count_units)
    if before is None or record != read_recorded_audit(storage):
        write_audit(storage, record)
    return record


def write_audit(storage: Storage, record: AuditRecord) -> None:
    """Write ``audit.json``.

    Raises:
        InputError: it cannot be written.
        StorageError: the store fails.
    """
    try:
        storage.write(AUDIT, record.as_json())
    except StorageRefusedError as error:
        raise InputError(f"output cannot be written: {error}; choose another --output") from None


def grown(
    before: AuditRecord | None,
    identity: AuditIdentity,
    device: str,
    labels: ClassLabels,
    count_units: CountUnits,
) -> AuditRecord:
    """Add what an identity asks for to what a folder holds."""
    analyses = dict(before.analyses) if before else {}
    replacing = dict(before.replacing) if before else {}
    for stage in identity.spec.stages:
        wanted = AnalysisRecord(
            identity.analysis_hash(stage), identity.options_of(stage), _class_ids(identity), ANALYSES[stage].unit
        )
        into = analyses if stage not in analyses or analyses[stage].hash == wanted.hash else replacing
        known = into[stage].class_ids if stage in into and into[stage].hash == wanted.hash else ()
        class_ids = tuple(sorted({*known, *wanted.class_ids}))
        into[stage] = dataclasses.replace(wanted, class_ids=class_ids, n_units=count_units(stage, class_ids))
    analyses = _in_order(analyses)
    recorded = identity.as_recorded()
    names = dict(labels.names)
    wordnet_ids = dict(labels.wordnet_ids)
    if before:
        recorded = _merged(before.identity, recorded)
        names = before.class_names | names
        wordnet_ids = before.wordnet_ids | wordnet_ids
    spec = _spec_of(recorded.spec, analyses)
    if recorded.class_digests:
        recorded.digests["real_images"] = digest_of_classes(recorded.class_digests, spec["classes"])
    return AuditRecord(
        hash=identity.hash,
        identity=dataclasses.replace(recorded, spec=spec),
        class_names={class_id: names[class_id] for class_id in sorted(names)},
        versions=before.versions if before else _versions(),
        device=before.device if before else device,
        analyses=analyses,
        replacing=_in_order(replacing),
        wordnet_ids=dict(sorted(wordnet_ids.items())),
    )


def _in_order(analyses: Mapping[str, AnalysisRecord]) -> dict[str, AnalysisRecord]:
    """Sort analyses as in the pipeline; those that are not installed here come last."""
    order = [*(name for name in ANALYSES if name in analyses), *(name for name in analyses if name not in ANALYSES)]
    return {name: analyses[name] for name in order}


def with_replacement(record: AuditRecord, stage: str) -> AuditRecord:
    """Return the record of a folder after the results of a stage have been replaced."""
    analyses = record.analyses | {stage: record.replacing[stage]}
    replacing = {name: analysis for name, analysis in record.replacing.items() if name != stage}
    identity = dataclasses.replace(record.identity, spec=_spec_of(record.identity.spec, analyses))
    return dataclasses.replace(record, identity=identity, analyses=analyses, replacing=replacing)


def _class_ids(identity: AuditIdentity) -> tuple[int, ...]:
    return tuple(sorted(int(class_id) for class_id in identity.spec.classes))


def _merged(before: RecordedIdentity, now: RecordedIdentity) -> RecordedIdentity:
    """Join the networks and real images of both."""
    class_digests = before.class_digests | now.class_digests
    class_digests = {class_id: class_digests[class_id] for class_id in sorted(class_digests)}
    digests = before.digests | now.digests
    spec = now.spec | {role: before.spec[role] for role in ROLES if role in before.digests}
    return RecordedIdentity(spec, digests, before.protocols | now.protocols, now.schema_version, class_digests)


def _spec_of(spec: dict[str, Any], analyses: dict[str, AnalysisRecord]) -> dict[str, Any]:
    """Return the options with those that each analysis was computed with, and all classes and analyses."""
    classes = sorted({class_id for analysis in analyses.values() for class_id in analysis.class_ids})
    options = {name: value for analysis in analyses.values() for name, value in analysis.options.items()}
    return spec | options | {"classes": classes, "stages": list(analyses)}


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
    record = read_recorded_audit(storage)
    if record.replacing:  # the driver may have been killed between putting results in place and saying so
        analyses = {receipt.stage: receipt.analysis for receipt in Manifest.read(storage).receipts.values()}
        for stage, analysis in record.replacing.items():
            if analyses.get(stage) == analysis.hash[:HASH_DIGITS]:
                record = with_replacement(record, stage)
    return record


def read_recorded_audit(storage: Storage) -> AuditRecord:
    """Read ``audit.json`` as it was written, without a look at the manifest.

    Raises:
        InputError: the folder holds no audit.
    """
    storage.require_folder()
    try:
        record = AuditRecord.from_json(storage.read(AUDIT))
        recorded_spec(record.spec)
    except FileNotFoundError:
        if storage.exists(MANIFEST):
            raise NoAuditError(
                f"{storage.url} has results and no {AUDIT}, which says what they are of; restore that file from a "
                "copy, or audit into another folder"
            ) from None
        raise NoAuditError(f"{storage.url} is no audit folder: it has no {AUDIT}; run `cawa audit` first") from None
    except UnusableFileError:
        raise
    except ValueError as error:
        raise InputError(
            f"{storage.path(AUDIT)} does not describe an audit: {error}; restore it, or choose another folder"
        ) from None
    return record


def require_same(storage: Storage, identity: AuditIdentity) -> None:
    """Check that a folder holds, or is to hold, the results of this very identity.

    Raises:
        InputError: it is of another subject, or has results by other options.
    """
    record = read_audit(storage)
    require_same_subject(storage, record, identity)
    _require_same_options(storage, record, identity, record.replacing)


def require_same_subject(storage: Storage, record: AuditRecord, identity: AuditIdentity) -> None:
    """Check that a folder is about the same generator, networks, real images, seed and arithmetic.

    Raises:
        InputError: it is about another; the message says in what they differ.
    """
    here, given = _subject_of(record, identity), _named_subject(identity)
    differences = [
        f"{key} {bounded(here[key])} there, {bounded(given[key])} now" for key in given if here.get(key) != given[key]
    ]
    if not differences and record.hash == identity.hash:
        return
    if not differences:
        raise InputError(
            f"{storage.url} holds an audit that an earlier version of cawa made; choose another --output or remove it"
        )
    raise InputError(
        f"{storage.url} holds an audit of another subject: {listed(differences, separator='; ')}. "
        "Choose another --output or remove it"
    )


def _named_subject(identity: AuditIdentity) -> dict[str, Any]:
    """Return what a folder fixes, under the names that a message gives it."""
    named = {"schema version": identity.schema_version, "digest of generator": identity.digests["generator"]}
    named |= {name: getattr(identity.spec, name) for name in SUBJECT}
    for role, parts in identity.roles.items():
        named |= {role: getattr(identity.spec, role), f"protocol of {role}": parts["protocol"]}
        if parts["digest"]:
            named[f"digest of {role}"] = parts["digest"]
    return named | {f"real images of class {class_id}": digest for class_id, digest in identity.class_digests.items()}


def _subject_of(record: AuditRecord, identity: AuditIdentity) -> dict[str, Any]:
    """Return the same for a folder; what it has not needed yet is taken from the identity."""
    recorded, wanted = record.identity, _named_subject(identity)
    named = {"schema version": recorded.schema_version, "digest of generator": recorded.digests.get("generator")}
    named |= {name: recorded.spec.get(name) for name in SUBJECT}
    for role in identity.roles:
        keys = (role, f"protocol of {role}", f"digest of {role}")
        if role in recorded.digests:
            named |= {role: recorded.spec.get(role), keys[1]: recorded.protocols.get(role, "")}
            if keys[2] in wanted:
                named[keys[2]] = recorded.digests[role]
        else:
            named |= {key: wanted[key] for key in keys if key in wanted}
    for class_id, digest in identity.class_digests.items():
        named[f"real images of class {class_id}"] = recorded.class_digests.get(class_id, digest)
    return named


def _require_same_options(
    storage: Storage,
    record: AuditRecord,
    identity: AuditIdentity,
    replace: Collection[str] = (),
    cost: Cost = no_cost,
) -> None:
    """Check that the results of each analysis in the folder are by the same options, or may be replaced."""
    for stage in identity.spec.stages:
        analysis = record.analyses.get(stage)
        if analysis is None or stage in replace or analysis.hash == identity.analysis_hash(stage):
            continue
        now = identity.options_of(stage)
        differences = [
            f"{name} {bounded(analysis.options.get(name))} there, {bounded(value)} now"
            for name, value in now.items()
            if analysis.options.get(name) != value
        ]
        what = f"with other options: {listed(differences, separator='; ')}"
        if not differences:
            functions = listed(sorted(identity.functions_of(stage)))
            code = f"by other code of {functions}, or " if functions else ""
            what = f"{code}with or without a network, a segmenter or real images, unlike now"
        raise InputError(
            f"{storage.url} has {stage} {what}. --replace {stage} computes it again "
            f"({cost(stage, analysis.class_ids)}); or choose another --output"
        )


def _versions() -> dict[str, str]:
    versions = {"cawa": __version__, "python": platform.python_version()}
    return versions | {name: version(name) for name in LIBRARIES}
