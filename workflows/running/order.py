"""The order of analyses that read each other's results."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from cawa_core.errors import InputError
from cawa_core.tables.audit_record import AuditRecord
from workflows.analyses import ANALYSES
from workflows.folders.identity import AuditIdentity


def waves(stages: Sequence[str]) -> list[tuple[str, ...]]:
    """Divide analyses into rounds of execution, so that each comes after those whose results it reads.

    Raises:
        InputError: some read each other's results in a circle.
    """
    remaining = list(stages)
    rounds = []
    while remaining:
        ready = tuple(name for name in remaining if not set(ANALYSES[name].after) & set(remaining))
        if not ready:
            raise InputError(f"stages must not read each other's results in a circle: {', '.join(remaining)}")
        rounds.append(ready)
        remaining = [name for name in remaining if name not in ready]
    return rounds


def with_readers(replace: Collection[str], stages: Sequence[str]) -> tuple[str, ...]:
    """Add the analyses that read the results of those that will be replaced, directly or through others."""
    replaced = set(replace)
    for wave in waves(stages) if replaced else ():
        replaced |= {name for name in wave if set(ANALYSES[name].after) & replaced}
    return tuple(name for name in stages if name in replaced)


def require_complete_order(identity: AuditIdentity, record: AuditRecord | None, replace: Collection[str]) -> None:
    """Check that what analyses read is computed in this run or in the folder, and what reads them stays true.

    Args:
        identity: identity of the results to compute.
        record: content of the folder; None if it is new.
        replace: analyses whose results will be replaced.

    Raises:
        InputError: a stage is missing from this run, or is in the folder with other options.
    """
    stages = identity.spec.stages
    recorded = record.analyses if record else {}
    for name in stages:
        for source in ANALYSES[name].after:
            if source in stages:
                continue
            if source not in recorded:
                raise InputError(f"stage {name} reads the results of {source}; add {source} to --stages")
            if recorded[source].hash != identity.analysis_hash(source):
                raise InputError(
                    f"stage {name} reads the results of {source}, which the folder has with other options; give those "
                    f"again, or add {source} to --stages and to --replace"
                )
    for name in recorded:
        if name in ANALYSES and name not in stages and set(ANALYSES[name].after) & set(replace):
            sources = " and ".join(source for source in ANALYSES[name].after if source in replace)
            raise InputError(f"{name} in the folder reads the results of {sources}; add {name} to --stages")
