"""Measure awareness, in closed form and by samples, against Appendix A of the paper.

The site has 2,048 channels, as many as the first site of BigGAN-deep, and random spectral-normalised weights. Appendix
A runs in float32 on all threads: as printed, with one call for the probes of all latents of a class, and as a loop over
latents, which needs no memory for the probes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from benchmarks.results import Result, compared
from cawa_core.awareness import closed_form_awareness, monte_carlo_awareness
from cawa_core.awareness.closed_form import mean_ratio
from cawa_core.awareness.joint_normal import joint_normal
from cawa_core.generators.base import AffineMap, Modulation

CHANNELS = 2048
WIDTH = 128
"""Dimensions of a latent, and of a class embedding."""
SAMPLES = 10_000
CLASSES = 20
TIMED_CLASSES = 3
"""Classes that Appendix A is timed on in the comparison by samples; it does the same work for each class."""
Layer = Callable[[Tensor], Tensor]


def run() -> Iterator[Result]:
    """Measure the closed form and then samples, both on 20 classes."""
    modulation = random_modulation(CHANNELS, seed=0)
    embeddings = torch.randn(CLASSES, WIDTH, generator=torch.Generator().manual_seed(1))
    yield from closed_form(modulation, embeddings)
    yield from monte_carlo(modulation, embeddings)


def closed_form(modulation: Modulation, embeddings: Tensor) -> Iterator[Result]:
    """Measure category awareness, both results of Appendix A, and all columns: all classes in one call, as in an audit.

    Then measure both results with one call per class, against Appendix A as printed and as a loop over latents.
    """
    scale = layer(modulation.gain)
    bias = layer(modulation.offset)
    looped = functools.partial(latent_by_latent, scale, bias, embeddings[0])
    printed = functools.partial(appendix_a, scale, bias, embeddings[0], SAMPLES, WIDTH)
    as_printed = f"Appendix A as printed, {SAMPLES:,} latents at once (one class timed)"
    both = functools.partial(closed_form_awareness, modulation, diagnostics=False)

    def one_by_one() -> None:
        for embedding in embeddings.split(1):
            both(embedding)

    for columns, call, at_least in (
        ("A", lambda: mean_ratio(joint_normal(modulation, embeddings)), 1000),
        ("A and robust L", lambda: both(embeddings), None),
        ("all columns", lambda: closed_form_awareness(modulation, embeddings), None),
    ):
        work = f"closed form, {columns}, a class of {CLASSES}, {CHANNELS:,} channels"
        yield compared(work, as_printed, call, printed, at_least=at_least, repeats=7, counterpart_scale=CLASSES)
    work = f"closed form, A and robust L, one class at a time, {CHANNELS:,} channels"
    yield compared(work, as_printed, one_by_one, printed, repeats=5, counterpart_scale=CLASSES)
    against = f"Appendix A, a loop over {SAMPLES:,} latents (one class timed)"
    yield compared(work, against, one_by_one, looped, repeats=5, counterpart_scale=CLASSES)


def monte_carlo(modulation: Modulation, embeddings: Tensor) -> Iterator[Result]:
    """Measure the results of Appendix A with the standard error, and all columns."""
    scale = layer(modulation.gain)
    bias = layer(modulation.offset)
    z = torch.randn(SAMPLES, WIDTH, generator=torch.Generator().manual_seed(2))

    def class_by_class() -> None:
        for embedding in embeddings[:TIMED_CLASSES]:
            appendix_a(scale, bias, embedding, SAMPLES, WIDTH)

    for columns, diagnostics, at_least in (("A, its standard error and L", False, 4), ("all columns", True, None)):
        yield compared(
            f"samples, {columns}, {CLASSES} classes, {CHANNELS:,} channels, {SAMPLES:,} latents",
            f"Appendix A as printed in a loop over classes ({TIMED_CLASSES} timed)",
            functools.partial(monte_carlo_awareness, modulation, embeddings, z, diagnostics=diagnostics),
            class_by_class,
            at_least=at_least,
            repeats=5,
            counterpart_scale=CLASSES / TIMED_CLASSES,
        )


def random_modulation(channels: int, seed: int) -> Modulation:
    """Draw gain and offset as linear layers ``[C, 256]`` of spectral norm 1 on (z, e)."""
    random = torch.Generator().manual_seed(seed)

    def random_affine(constant: float) -> AffineMap:
        weight = torch.randn(channels, 2 * WIDTH, generator=random)
        weight /= torch.linalg.matrix_norm(weight, 2)
        return AffineMap(torch.full((channels,), constant), weight[:, :WIDTH], weight[:, WIDTH:])

    return Modulation(random_affine(1.0), random_affine(0.0))


def layer(affine: AffineMap) -> Layer:
    """Return the linear layer of a CCBN, from (z, e) ``[n, 256]`` to gain or offset ``[n, C]``."""
    weight = torch.cat([affine.from_latent, affine.from_class], dim=1)
    return functools.partial(torch.nn.functional.linear, weight=weight, bias=affine.constant)


def appendix_a(ccbn_scale: Layer, ccbn_bias: Layer, e: Tensor, num_samples: int, z_dim: int) -> tuple[Tensor, Tensor]:
    """Run the pseudo-code of the paper line by line: category and latent awareness ``[C]`` of embedding ``e``."""
    z = torch.randn(num_samples, z_dim)
    e = e.reshape(1, -1).repeat(num_samples, 1)
    code = torch.cat([z, e], dim=1)
    probe = -ccbn_bias(code) / ccbn_scale(code)
    return -torch.mean(probe, dim=0), torch.var(probe, dim=0)


def latent_by_latent(ccbn_scale: Layer, ccbn_bias: Layer, e: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the same from running sums of the probes and their squares, one latent after another."""
    total = torch.zeros(CHANNELS)
    squares = torch.zeros(CHANNELS)
    for _ in range(SAMPLES):
        code = torch.cat([torch.randn(WIDTH), e])
        probe = -ccbn_bias(code) / ccbn_scale(code)
        total += probe
        squares += probe * probe
    mean = total / SAMPLES
    return -mean, (squares - SAMPLES * mean * mean) / (SAMPLES - 1)
