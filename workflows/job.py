"""The identity of an audit: its spec with the digests of everything that it names."""

from __future__ import annotations

import dataclasses

from cawa_core import SCHEMA_VERSION
from workflows.identity import AuditIdentity, digest_of_classes
from workflows.stages import STAGES
from workflows.workbench import Workbench

IDENTITY = "identity"
"""Key under which a workbench remembers it, with the spec that it belongs to."""


def audit_identity(bench: Workbench) -> AuditIdentity:
    """Return the spec with the digests of all that it names; paths do not enter."""
    remembered = bench.kept.get(IDENTITY)
    if remembered is None or remembered[0] is not bench.spec:
        bench.kept[IDENTITY] = remembered = (bench.spec, _identity(bench))
    identity: AuditIdentity = remembered[1]
    return identity


def _identity(bench: Workbench) -> AuditIdentity:
    spec = dataclasses.replace(bench.spec, generator=bench.generator.name)
    digests = {"generator": bench.generator.digest}
    digests |= {role: network.digest for role, network in bench.judges.items()}
    class_digests: dict[int, str] = {}
    if bench.reals is not None:
        spec = dataclasses.replace(spec, real_images=bench.reals.name)
        class_digests = {class_id: bench.reals.class_contents(class_id) for class_id in classes_read(bench)}
        digests["real_images"] = digest_of_classes(class_digests, bench.class_ids)
    return AuditIdentity(
        spec=spec,
        digests=digests,
        protocols={role: network.protocol for role, network in bench.judges.items()},
        class_digests=class_digests,
        schema_version=SCHEMA_VERSION,
        samples_order=not all(bench.generator.is_affine(site.index) for site in bench.generator.sites),
    )


def classes_read(bench: Workbench) -> list[int]:
    """Return the classes of the audit and those that its stages read besides them, ascending."""
    stages = [STAGES[name] for name in bench.spec.stages]
    beside = {
        other for stage in stages for class_id in bench.class_ids for other in stage.reads_classes(bench, class_id)
    }
    return sorted({*bench.class_ids, *beside})
