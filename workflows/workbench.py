"""What a worker keeps between shards: the models on their device, the real images."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from functools import cached_property

import torch
from torch import Tensor

from cawa_core import SCHEMA_VERSION
from cawa_core.errors import InputError
from cawa_core.evaluators import EVALUATORS
from cawa_core.evaluators.base import Evaluator
from cawa_core.generators import GENERATORS
from cawa_core.generators.base import Generator
from cawa_core.real_images import REAL_IMAGES
from cawa_core.real_images.base import RealImages
from cawa_core.specs import ESTIMATORS, STAGES, AuditIdentity, AuditSpec, require_members, resolve_classes

DEVICES = {
    "cpu": lambda: 1,
    "cuda": torch.cuda.device_count,
    "mps": lambda: int(torch.backends.mps.is_available()),
}
"""Kinds of device => how many of them are here."""


@dataclasses.dataclass(frozen=True)
class Workbench:
    """Models and data of one audit.

    Attributes:
        spec: the audit's options, classes as indices.
        batch_size: images to a forward pass.
    """

    spec: AuditSpec
    generator: Generator
    evaluator: Evaluator
    real_images: RealImages
    batch_size: int

    @classmethod
    def build(cls, spec: AuditSpec, device: str, batch_size: int) -> Workbench:
        """Load what a spec names, with ``spec.classes`` made indices.

        Raises:
            InputError: an unknown name or class, damaged weights, or a device that is not there.
        """
        require_members("stages", spec.stages, STAGES)
        require_members("awareness_estimators", spec.awareness_estimators, ESTIMATORS)
        for name in ("overlap_k", "shared_k"):
            sizes = getattr(spec, name)
            if not sizes or len(set(sizes)) < len(sizes):
                raise InputError(f"{name} must be different numbers, at least one; got {list(sizes)}")
        if spec.neighbours >= spec.metric_samples // 2:
            raise InputError(
                f"neighbours must be below half of metric_samples={spec.metric_samples}; got {spec.neighbours}"
            )
        target = checked_device(device)
        generator = GENERATORS.make(spec.generator).to(target)
        evaluator = EVALUATORS.make(spec.evaluator).to(target)
        exact = dataclasses.replace(spec, classes=resolve_classes(spec.classes, generator.class_names))
        return cls(exact, generator, evaluator, REAL_IMAGES.make(spec.real_images), batch_size)

    @cached_property
    def identity(self) -> AuditIdentity:
        """The spec with the digests of all that it names."""
        return AuditIdentity(
            spec=self.spec,
            generator_digest=self.generator.digest,
            evaluator_digest=self.evaluator.digest,
            evaluator_protocol=self.evaluator.protocol,
            real_images_digest=self.real_images.digest,
            schema_version=SCHEMA_VERSION,
        )

    @property
    def class_embeddings(self) -> Tensor:
        """Embeddings of all classes of the generator: ``[n_classes, embed_dim]``."""
        classes = torch.arange(self.generator.n_classes, device=self.generator.device)
        return self.generator.class_embedding(classes)

    def latents(self, class_id: int, count: int) -> Tensor:
        """The first latents of a class: ``[count, z_dim]``; every stage sees the same ones."""
        return self.generator.sample_latents(self.spec.seed, class_id, range(count))

    def batches(self, images: Tensor) -> Iterator[Tensor]:
        """Images by the batch, on the device."""
        return (part.to(self.generator.device) for part in images.split(self.batch_size))


def checked_device(device: str) -> torch.device:
    """The device of a name, if it is there.

    Raises:
        InputError: the name means nothing or the device is missing.
    """
    try:
        target = torch.device(device)
    except RuntimeError:
        raise InputError(f"device must be cpu, cuda, cuda:N or mps; got {device!r}") from None
    if target.type not in DEVICES:
        raise InputError(f"device must be cpu, cuda, cuda:N or mps; got {device!r}")
    if (target.index or 0) >= DEVICES[target.type]():
        raise InputError(f"device {device!r} is not on this machine; use --device cpu")
    return target
