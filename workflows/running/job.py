"""An audit that is planned or computed: the lab, the options, and the work of each analysis."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from functools import cached_property
from typing import Any

import torch

from cawa_core.errors import InputError
from cawa_core.options import require_distinct
from workflows.analyses import ANALYSES
from workflows.folders.identity import AuditIdentity, identity_of
from workflows.interface import Analysis, Unit, Work
from workflows.lab import Lab
from workflows.options.audit import AuditSpec, stages_of
from workflows.options.lab import ROLES
from workflows.options.run import RunOptions


@dataclasses.dataclass(frozen=True)
class Job:
    """An audit that is planned or computed.

    Attributes:
        lab: models and real images.
        spec: options of the audit, with ``classes`` as indices.
    """

    lab: Lab
    spec: AuditSpec

    @classmethod
    def open(cls, spec: AuditSpec, options: RunOptions, *, device: str = "") -> Job:
        """Load what the analyses of a spec need, and check that they can be computed.

        Args:
            spec: options of the audit.
            options: how it runs.
            device: where the models go, if not to ``options.device``.

        Raises:
            InputError: options that do not go together, an unknown name or class, missing or damaged weights, or a
                device that is not there.
        """
        analyses = [ANALYSES[name] for name in stages_of(spec)]
        require_distinct(spec)
        works = {analysis.name: analysis.make_work() for analysis in analyses}
        for work in works.values():
            work.check_options(spec)
        lab = Lab.from_spec(spec, options, roles_needed(spec, analyses), device=device)
        job = cls(lab, dataclasses.replace(spec, classes=lab.class_ids))
        for work in works.values():
            work.check(lab, job.spec)
        return job

    def with_spec(self, **changes: Any) -> Job:  # noqa: ANN401
        """Return the same with other options; the models stay."""
        spec = dataclasses.replace(self.spec, **changes)
        return Job(dataclasses.replace(self.lab, spec=spec), spec)

    @property
    def analyses(self) -> tuple[Analysis, ...]:
        """Analyses of the audit."""
        return tuple(ANALYSES[name] for name in self.spec.stages)

    @cached_property
    def identity(self) -> AuditIdentity:
        """The spec with the digests of all that it names."""
        return identity_of(self.lab, self.spec, self.classes_read)

    @cached_property
    def classes_read(self) -> tuple[int, ...]:
        """Classes of the audit and those that its analyses read besides them, ascending."""
        read = {
            other
            for analysis in self.analyses
            for class_id in self.lab.class_ids
            for other in self.work(analysis.name).classes_read(self.lab, self.spec, class_id)
        }
        return tuple(sorted({*self.lab.class_ids, *read}))

    def work(self, analysis: str) -> Work[Any]:
        """Return what computes an analysis."""
        return self.lab.memo.once(("work", analysis), ANALYSES[analysis].make_work)

    def units(self, analysis: str, class_id: int) -> Sequence[Unit]:
        """Return the units of a class."""
        return self.work(analysis).units(self.lab, self.spec, class_id)

    def count_units(self, analysis: str, class_ids: Collection[int]) -> int:
        """Count the units of some classes."""
        return sum(len(self.units(analysis, class_id)) for class_id in class_ids)


def tried_by_driver(options: RunOptions) -> bool:
    """Return whether the driver's models are on the kind of device that computes; else each worker tries its own.

    Under Ray, the driver's models stay on the CPU, and it may have no GPU: a pass there would show neither faults of
    16-bit arithmetic on the GPU, nor could networks pass that need one.
    """
    return options.executor == "inline" or torch.device(options.device).type == "cpu"


def roles_needed(spec: AuditSpec, analyses: Sequence[Analysis]) -> tuple[str, ...]:
    """Return the roles that analyses need, and those that they use and the spec fills.

    Raises:
        InputError: a role that is needed names nothing.
    """
    for analysis in analyses:
        for role in analysis.needs:
            if not getattr(spec, role):
                raise InputError(
                    f"{role} must be given for {spec.generator}: stage {analysis.name} needs it; "
                    f"give --{role.replace('_', '-')}, or leave {analysis.name} out of --stages"
                )
    roles = {role for analysis in analyses for role in (*analysis.needs, *analysis.uses) if getattr(spec, role)}
    if "real_images" in roles:
        roles |= {role for analysis in analyses for role in analysis.shows}
    return tuple(role for role in ROLES if role in roles)
