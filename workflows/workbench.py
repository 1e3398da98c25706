"""The models on their device and the real images, which a worker keeps between shards."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from contextlib import AbstractContextManager
from functools import cached_property
from typing import Any, TypeVar

import torch
from cawa_core.specs import NEEDS, SHOWS, STAGES, USES
from torch import Tensor

from cawa_core.applications.segmentation import check_clusters
from cawa_core.arithmetic import arithmetic, require_precision, use_exact_kernels
from cawa_core.batch_size import BatchSize
from cawa_core.class_metrics.ms_ssim import WINDOW
from cawa_core.errors import InputError, first_line
from cawa_core.evaluators import EVALUATORS
from cawa_core.evaluators.base import Evaluator, EvaluatorRequest, FeatureExtractor
from cawa_core.generators import GENERATORS
from cawa_core.generators.base import Generator
from cawa_core.generators.request import GeneratorRequest
from cawa_core.masking.sampling import SMALLEST
from cawa_core.options import require_members
from cawa_core.real_images import open_real_images
from cawa_core.real_images.base import RealImages, RealImagesRequest
from cawa_core.real_images.feature_cache import FeatureCache
from workflows.analyses.awareness import ESTIMATORS
from workflows.config import RunOptions
from workflows.spec import AuditSpec

Kind = TypeVar("Kind")

DEVICES = {
    "cpu": lambda: 1,
    "cuda": torch.cuda.device_count,
}
"""Kinds of device => how many of them are here."""

ATTRIBUTES: dict[type, tuple[str, ...]] = {
    Generator: ("name", "digest", "sites", "classes", "z_dim", "embed_dim", "image_size", "image_channels"),
    Evaluator: ("name", "digest", "protocol", "n_classes"),
    FeatureExtractor: ("name", "digest", "protocol"),
}
"""Attributes that a user's model must have, whichever factory made it."""
BATCH_VALUES = {"cpu": 2**22, "cuda": 2**28}
"""Values of a batch's largest feature map: 16 MB on a CPU, so that what a layer writes the next finds cached."""
LARGEST_BATCH = {"cpu": 256, "cuda": 2048}
"""A GPU is idle while it waits for the launches of a small generator: these serve more images at once."""
BATCH = "batch size"
"""Among what is kept: the :class:`BatchSize`, that copies of a bench share."""


@dataclasses.dataclass(frozen=True)
class Workbench:
    """Models and data of one audit; only those that its stages need.

    Attributes:
        spec: the audit's options, classes as indices.
        options: how it is run.
        judges: the networks that look at images, by their role in the spec: ``evaluator``, ``fid_features``,
            ``manifold_features``.
        reals: the real images.
        kept: what stages compute once and use again.
        feature_cache: keeps what the judges see in real images.
    """

    spec: AuditSpec
    options: RunOptions
    generator: Generator
    judges: dict[str, FeatureExtractor]
    reals: RealImages | None
    feature_cache: FeatureCache
    kept: dict[Any, Any] = dataclasses.field(default_factory=dict)

    @classmethod
    def build(cls, spec: AuditSpec, options: RunOptions, *, once: bool = True, device: str = "") -> Workbench:
        """Load what a spec names, with ``spec.classes`` made indices.

        Args:
            spec: the audit's options.
            options: how it is run.
            once: refuse a class that is given twice; else it counts once.
            device: where the models go, if not to ``options.device``.

        Raises:
            InputError: an unknown name or class, missing or damaged weights, or a device that is not there.
        """
        check_spec(spec)
        target, store = checked_device(device or options.device), options.weight_store(spec.generator)
        require_precision(spec.dtype, named_device(options.device))
        request = GeneratorRequest(spec.generator, store, spec.truncation, spec.truncation_statistics)
        generator = _require_model(Generator, "generator", spec.generator, GENERATORS.make(spec.generator, request)).to(
            target
        )
        _check_generator(spec, generator)
        exact = dataclasses.replace(spec, classes=generator.classes.resolve_all(spec.classes, once=once))
        needs = {need for stage in spec.stages for need in (*NEEDS[stage], *USES.get(stage, ())) if getattr(spec, need)}
        reals = _real_images(exact, options, generator) if "real_images" in needs else None
        judges = _judges(exact, options) if needs else {}
        for judge in judges.values():
            judge.eval().requires_grad_(False).to(target)
        _check_evaluator(judges, generator)
        use_exact_kernels()  # after the user's modules were imported, which may have chosen otherwise
        if spec.compile:
            _compile((generator, *judges.values()), target)
        return cls(exact, options, generator, judges, reals, FeatureCache(options.cache_folder / "features"))

    @cached_property
    def class_ids(self) -> tuple[int, ...]:
        """The spec's classes as indices."""
        return self.generator.classes.resolve_all(self.spec.classes)

    @property
    def evaluator(self) -> Evaluator:
        """The classifier; present if a stage needs one."""
        evaluator = self.judges["evaluator"]
        assert isinstance(evaluator, Evaluator)
        return evaluator

    @property
    def real_images(self) -> RealImages:
        """The real images; present if a stage needs them."""
        assert self.reals is not None
        return self.reals

    @property
    def batch(self) -> BatchSize:
        """Images per forward pass: as many as requested, else as many as the device has room for."""
        if BATCH not in self.kept:
            largest = max(site.channels * site.resolution**2 for site in self.generator.sites)
            kind = self.generator.device.type
            fitting = min(LARGEST_BATCH[kind], BATCH_VALUES[kind] // largest)
            self.kept[BATCH] = BatchSize(self.options.batch_size or max(1, fitting))
        batch: BatchSize = self.kept[BATCH]
        return batch

    @property
    def batch_size(self) -> int:
        """Images per forward pass at present; fewer after an out-of-memory error."""
        return self.batch.images

    @property
    def score_protocol(self) -> str:
        """How masking scores were made: network, preprocessing, weights and arithmetic."""
        corrected = " corrected from bfloat16" if self.spec.masking_estimator == "two_precisions" else ""
        return f"{self.evaluator.protocol}; weights {self.evaluator.digest[:12]}; {self.arithmetic_name}{corrected}"

    @property
    def arithmetic_name(self) -> str:
        """Name of the arithmetic that the networks compute in."""
        return self.spec.dtype + ", compiled" * self.spec.compile

    @cached_property
    def class_embeddings(self) -> Tensor:
        """Embeddings of all classes of the generator: ``[n_classes, embed_dim]``."""
        classes = torch.arange(self.generator.n_classes, device=self.generator.device)
        return self.generator.class_embedding(classes)

    def latents(self, class_id: int, count: int) -> Tensor:
        """The first latents of a class: ``[count, z_dim]``; every stage sees the same ones."""
        return self.generator.sample_latents(self.spec.seed, class_id, range(count))

    def arithmetic(self) -> AbstractContextManager[object]:
        """The spec's ``dtype`` for what runs inside."""
        return arithmetic(self.spec.dtype, self.generator.device)


def check_spec(spec: AuditSpec) -> None:
    """Check what no single field can say.

    Raises:
        InputError: a wrong stage, estimator, size or number of neighbours.
    """
    require_members("stages", spec.stages, STAGES)
    require_members("awareness_estimators", spec.awareness_estimators, ESTIMATORS)
    for name in ("overlap_k", "shared_k"):
        sizes = getattr(spec, name)
        if not sizes or len(set(sizes)) < len(sizes):
            raise InputError(f"{name} must be different numbers, at least one; got {list(sizes)}")
    if spec.monte_carlo_classes and "closed_form" not in spec.awareness_estimators:
        raise InputError("monte_carlo_classes needs closed_form among awareness_estimators, for the other classes")
    if spec.neighbours >= spec.metric_samples // 2:
        raise InputError(
            f"neighbours must be below half of metric_samples={spec.metric_samples}; got {spec.neighbours}"
        )
    _check_masking(spec)
    if spec.truncation_statistics != "interpolated" and not spec.generator.startswith("biggan-deep-"):
        raise InputError(f"truncation_statistics are for biggan-deep alone; leave them out for {spec.generator}")
    for stage in spec.stages:
        for need in NEEDS[stage]:
            if not getattr(spec, need):
                raise InputError(
                    f"{need} must be given for {spec.generator}: stage {stage} needs it; "
                    f"give --{need.replace('_', '-')}, or leave {stage} out of --stages"
                )


def _check_masking(spec: AuditSpec) -> None:
    estimator = spec.masking_estimator
    if estimator in ("regression", "two_precisions") and spec.masking_latents < SMALLEST:
        raise InputError(
            f"masking_latents must be at least {SMALLEST} for masking_estimator={estimator}; got "
            f"{spec.masking_latents}: raise it, or use --masking-estimator exact"
        )
    if estimator == "two_precisions" and spec.dtype != "float32":
        raise InputError(
            f"dtype must be float32 for masking_estimator=two_precisions, which masks in bfloat16 beside it; got "
            f"{spec.dtype}"
        )
    if estimator == "screening" and (spec.target_stderr or spec.top):
        raise InputError(
            "target_stderr and top need masks; masking_estimator=screening has none: leave them out, or use regression"
        )


def named_device(device: str) -> torch.device:
    """Return the device of a name, whether it is on this machine or on another.

    Raises:
        InputError: it is not the name of a device.
    """
    try:
        target = torch.device(device)
    except RuntimeError:
        raise InputError(f"device must be cpu, cuda or cuda:N; got {device!r}") from None
    if target.type not in DEVICES:
        raise InputError(f"device must be cpu, cuda or cuda:N; got {device!r}")
    return target


def checked_device(device: str) -> torch.device:
    """Return the device of a name.

    Raises:
        InputError: it is not the name of a device, or the device is not on this machine.
    """
    target = named_device(device)
    if (target.index or 0) >= DEVICES[target.type]():
        raise InputError(f"device {device!r} is not on this machine; use --device cpu")
    return target


def _check_generator(spec: AuditSpec, generator: Generator) -> None:
    if generator.truncation != spec.truncation:
        raise InputError(
            f"truncation: {generator.name} was built for {generator.truncation:g}; got {spec.truncation:g}, let the "
            "factory take the request and honour request.truncation"
        )
    for site in generator.sites:
        if "monte_carlo" not in spec.awareness_estimators and not generator.is_affine(site.index):
            raise InputError(
                f"awareness_estimators must hold monte_carlo: gain and offset of site {site.index} ({site.name}) are "
                f"not affine in the latents; got {', '.join(spec.awareness_estimators)}"
            )
    if "class_metrics" in spec.stages and generator.image_size < WINDOW:
        raise InputError(
            f"{generator.name} must make images of {WINDOW} pixels at least for MS-SSIM; got {generator.image_size}: "
            "leave class_metrics out of --stages"
        )
    if "masking" in spec.stages and not generator.has_gradients:
        raise InputError(
            f"{generator.name} must let gradients through for masking, which screens by them; its pass is without: "
            "take torch.no_grad out of it, or leave masking out of --stages"
        )
    if "segmentation" in spec.stages:
        if spec.segment_sites:
            generator.require_sites(spec.segment_sites)
        check_clusters(spec.segment_clusters, spec.segment_latents * generator.image_size**2)


def _judges(spec: AuditSpec, options: RunOptions) -> dict[str, FeatureExtractor]:
    """Load the evaluator and the networks that stages show real images to; each network is loaded once."""
    used = {role for stage in spec.stages for role in SHOWS.get(stage, ()) if spec.real_images}
    roles = ("evaluator", *(role for role in ("fid_features", "manifold_features") if role in used))
    names = {role: getattr(spec, role) or spec.evaluator for role in roles}
    store = options.weight_store(spec.generator)
    loaded = {
        name: _require_model(FeatureExtractor, "evaluator", name, EVALUATORS.make(name, EvaluatorRequest(name, store)))
        for name in dict.fromkeys(names.values())
    }
    return {role: loaded[name] for role, name in names.items()}


def _require_model(kind: type[Kind], argument: str, name: str, model: object) -> Kind:
    """Check that a factory returned a model of the expected type, with the attributes that it needs."""
    if not isinstance(model, kind):
        raise InputError(
            f"{argument} {name!r} must make a {kind.__module__}.{kind.__name__}; it made a {type(model).__name__}, "
            f"see docs/{'own_generator' if kind is Generator else 'imagenet'}.md"
        )
    required = next(attributes for base, attributes in ATTRIBUTES.items() if isinstance(model, base))
    missing = [attribute for attribute in required if not getattr(model, attribute, "")]
    if missing:
        raise InputError(f"{argument} {name!r} must have the attribute {missing[0]}; set it in the factory")
    return model


def _real_images(spec: AuditSpec, options: RunOptions, generator: Generator) -> RealImages:
    class_ids = generator.classes.resolve_all(spec.classes)
    request = RealImagesRequest(
        spec.real_images,
        generator.classes,
        generator.image_size,
        generator.image_channels,
        tuple(range(generator.n_classes)),  # hybrids mix classes of the audit with others
        options.class_folders,
    )
    reals, least = open_real_images(request), 2 * (spec.neighbours + 1)
    reals.require(class_ids)
    for class_id in class_ids:
        count = reals.count_of(class_id)
        if count < 2 * least:  # few enough to look at each
            count -= len(reals.unreadable_of(class_id))
        if count < least:
            raise InputError(
                f"real_images must be at least {least} per class, for halves of more than "
                f"neighbours={spec.neighbours}; class {class_id} has {count}: add some, lower --neighbours, or "
                "leave it out"
            )
    return reals


def _check_evaluator(judges: dict[str, FeatureExtractor], generator: Generator) -> None:
    evaluator = judges.get("evaluator")
    if evaluator is None:
        return
    if not isinstance(evaluator, Evaluator):
        raise InputError(
            f"evaluator must be a classifier; {evaluator.name} has features only, use it for --fid-features"
        )
    if evaluator.n_classes != generator.n_classes:
        raise InputError(
            f"evaluator must tell the generator's {generator.n_classes} classes apart; {evaluator.name} has "
            f"{evaluator.n_classes}, choose another"
        )


def _compile(models: Iterable[Generator | FeatureExtractor], device: torch.device) -> None:
    """Send the models through torch.compile.

    Raises:
        InputError: it cannot compile here.
    """
    try:
        torch.compile(torch.sin)(torch.ones(2, device=device))
    except Exception as error:  # of many kinds: no compiler, no Triton, too old a device
        raise InputError(
            f"compile: torch.compile cannot compile here ({first_line(error)}); leave out --compile"
        ) from None
    for model in models:
        model.compile_steps() if isinstance(model, Generator) else model.compile_features()
