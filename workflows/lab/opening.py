"""Loading of a lab's models and real images, and the checks that need no analysis."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TypeVar

import torch

from cawa_core.errors import InputError, bounded, first_line
from cawa_core.evaluators import EVALUATORS
from cawa_core.evaluators.base import Evaluator, EvaluatorRequest, FeatureExtractor
from cawa_core.generators import GENERATORS
from cawa_core.generators.base import Generator
from cawa_core.generators.request import GeneratorRequest
from cawa_core.numerics.arithmetic import require_precision, use_exact_kernels
from cawa_core.numerics.device_errors import is_machine_error
from cawa_core.options import require_members
from cawa_core.real_images import open_real_images
from cawa_core.real_images.base import RealImages, RealImagesRequest
from cawa_core.segmenters import SEGMENTERS
from cawa_core.segmenters.base import Segmenter, SegmenterRequest
from workflows.options.lab import FEATURE_ROLES, ROLES, LabSpec
from workflows.options.run import RunOptions

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
    Segmenter: ("name", "digest", "protocol", "concepts"),
}
"""Attributes that a user's model must have, whichever factory made it."""
OWN_MODELS: dict[type, str] = {Generator: "own_generator", FeatureExtractor: "imagenet", Segmenter: "concepts"}
"""Page of the documentation about models of one's own, by kind."""


def require_roles(spec: LabSpec, needs: Collection[str]) -> None:
    """Check that the roles that are needed have names.

    Raises:
        InputError: a role is unknown, or names nothing.
    """
    if needs:
        require_members("needs", tuple(needs), ROLES)
    for role in ROLES:
        name = getattr(spec, role) or (spec.evaluator if role in FEATURE_ROLES else "")
        if role in needs and not name:
            raise InputError(f"{role} must be given for {spec.generator}; give --{role.replace('_', '-')}")


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


def open_generator(spec: LabSpec, options: RunOptions, device: torch.device) -> Generator:
    """Load the generator and move it to its device.

    Raises:
        InputError: an unknown name, missing or damaged weights, or options that do not suit it.
    """
    if spec.truncation_statistics != "interpolated" and not spec.generator.startswith("biggan-deep-"):
        raise InputError(f"truncation_statistics are for biggan-deep alone; leave them out for {spec.generator}")
    require_precision(spec.dtype, named_device(options.device))
    store = options.weight_store(spec.generator)
    request = GeneratorRequest(spec.generator, store, spec.truncation, spec.truncation_statistics)
    model = GENERATORS.make(spec.generator, request)
    generator = _require_model(Generator, "generator", spec.generator, model).to(device)
    if generator.truncation != spec.truncation:
        raise InputError(
            f"truncation: {generator.name} was built for {generator.truncation:g}; got {spec.truncation:g}, let the "
            "factory take the request and honour request.truncation"
        )
    return generator


def open_networks(
    spec: LabSpec, options: RunOptions, needs: Collection[str], generator: Generator, device: torch.device
) -> dict[str, FeatureExtractor]:
    """Load the networks that are needed, each once, and move them to their device; by role.

    Raises:
        InputError: an unknown name, missing or damaged weights, or an evaluator for other classes.
    """
    names = {role: getattr(spec, role) or spec.evaluator for role in FEATURE_ROLES if role in needs}
    store = options.weight_store(spec.generator)
    loaded = {
        name: _require_model(FeatureExtractor, "evaluator", name, EVALUATORS.make(name, EvaluatorRequest(name, store)))
        for name in dict.fromkeys(names.values())
    }
    networks = {role: loaded[name] for role, name in names.items()}
    for network in networks.values():
        network.eval().requires_grad_(False).to(device)
    if "evaluator" in networks:
        _check_evaluator(networks["evaluator"], generator)
    return networks


def open_segmenter(spec: LabSpec, options: RunOptions, device: torch.device) -> Segmenter:
    """Load the segmenter and move it to its device.

    Raises:
        InputError: an unknown name, missing or damaged weights, or concepts without names of their own.
    """
    request = SegmenterRequest(spec.segmenter, options.weight_store(spec.generator))
    product = SEGMENTERS.make(spec.segmenter, request)
    segmenter = _require_model(Segmenter, "segmenter", spec.segmenter, product)
    concepts = tuple(segmenter.concepts)
    if not all(isinstance(concept, str) and concept for concept in concepts) or len(set(concepts)) < len(concepts):
        raise InputError(
            f"concepts of segmenter {segmenter.name} must be different names; got {bounded(list(concepts))}"
        )
    segmenter.eval().requires_grad_(False).to(device)
    return segmenter


def open_real_image_set(spec: LabSpec, options: RunOptions, generator: Generator) -> RealImages:
    """Open the real images; they may have any class of the generator, and must have those of the lab.

    Raises:
        InputError: an unknown name, no folder, or a class without images.
    """
    request = RealImagesRequest(
        spec.real_images,
        generator.classes,
        generator.image_size,
        generator.image_channels,
        tuple(range(generator.n_classes)),  # some analyses read other classes besides those of the lab
        options.class_folders,
    )
    real_image_set = open_real_images(request)
    real_image_set.require(generator.classes.resolve_all(spec.classes))
    return real_image_set


def prepare_kernels(spec: LabSpec, models: Sequence[Generator | FeatureExtractor], device: torch.device) -> None:
    """Choose exact kernels, and compile the models if the spec asks for it.

    This comes after the user's modules were imported, which may have chosen otherwise.

    Raises:
        InputError: torch.compile cannot compile here.
    """
    use_exact_kernels()
    if not spec.compile:
        return
    try:
        torch.compile(torch.sin)(torch.ones(2, device=device))
    except Exception as error:  # of many kinds: no compiler, no Triton, too old a device
        if is_machine_error(error):
            raise
        raise InputError(
            f"compile: torch.compile cannot compile here ({first_line(error)}); leave out --compile"
        ) from None
    for model in models:
        if isinstance(model, Generator):
            model.compile_steps()
        else:
            model.compile_features()


def _require_model(kind: type[Kind], argument: str, name: str, model: object) -> Kind:
    """Check that a factory returned a model of the expected type, with the attributes that it needs."""
    if not isinstance(model, kind):
        raise InputError(
            f"{argument} {name!r} must make a {kind.__module__}.{kind.__name__}; it made a {type(model).__name__}, "
            f"see docs/{OWN_MODELS[kind]}.md"
        )
    required = next(attributes for base, attributes in ATTRIBUTES.items() if isinstance(model, base))
    missing = [attribute for attribute in required if not getattr(model, attribute, "")]
    if missing:
        raise InputError(f"{argument} {name!r} must have the attribute {missing[0]}; set it in the factory")
    return model


def _check_evaluator(evaluator: FeatureExtractor, generator: Generator) -> None:
    if not isinstance(evaluator, Evaluator):
        raise InputError(
            f"evaluator must be a classifier; {evaluator.name} has features only, use it for --fid-features"
        )
    if evaluator.n_classes != generator.n_classes:
        raise InputError(
            f"evaluator must tell the generator's {generator.n_classes} classes apart; {evaluator.name} has "
            f"{evaluator.n_classes}, choose another"
        )
