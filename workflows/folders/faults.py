"""Faults of audit folders."""

from __future__ import annotations

import dataclasses

from cawa_core.errors import bounded, printable

HARMLESS = ("orphan", "incomplete", "quarantined", "stale", "unknown")
"""Kinds of faults that the next audit or aggregation repairs, or that a package that is not installed explains."""


@dataclasses.dataclass(frozen=True)
class Fault:
    """A fault in an audit folder.

    Attributes:
        kind: ``missing``, ``damaged``, ``foreign``, ``duplicate``, ``orphan``, ``mixed``, ``incomplete``,
            ``unknown``, ``quarantined`` or ``stale``.
        subject: name of the file, shard, table or stage.
        explanation: description of the fault.
    """

    kind: str
    subject: str
    explanation: str

    def __str__(self) -> str:
        return f"{self.kind} {bounded(self.subject, quoted=False)}: {printable(' '.join(self.explanation.split()))}"
