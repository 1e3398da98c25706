"""Measure class metrics at the size of ImageNet.

A class has 1,300 real images of 256 px, with 2,048 features for FID and 4,096 for the manifold metrics.
"""

from __future__ import annotations

import functools
import multiprocessing
import resource
import sys
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import prdc
import torch
from torch import Tensor
from torch_fidelity.metric_fid import fid_statistics_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure
from torchmetrics.image.fid import FrechetInceptionDistance

from benchmarks.results import Result, compared, seconds_of
from cawa_core.class_metrics.class_pair import metrics_of_class
from cawa_core.class_metrics.class_sample import ClassSample, ClassSampler, Kept
from cawa_core.class_metrics.frechet import frechet_distance
from cawa_core.class_metrics.kernel import KERNEL_SAMPLES, kernel_distance
from cawa_core.class_metrics.manifold import manifold_metrics
from cawa_core.class_metrics.moments import Moments, MomentStream
from cawa_core.class_metrics.ms_ssim import pairwise_ms_ssim

REALS = 1_300
FAKES = 50_000
BATCH = 50
FID_DIM = 2_048
MANIFOLD_DIM = 4_096
SIDE = 256
IMAGES = 100
"""Images of a class that MS-SSIM compares."""
PAIRS = IMAGES * (IMAGES - 1) // 2
SAMPLED_PAIRS = 30
"""Pairs of images that torchmetrics is timed on."""
PROCESS_LIMIT = 2.5
"""Largest peak memory in GB: of 4 GB, the part that a generator and the networks leave."""
GROWTH_LIMIT = 1.5
"""Largest peak memory in GB without the imported libraries."""


def run() -> Iterator[Result]:
    """Measure each metric against a library that computes the same, and the memory that one class needs."""
    yield from fid()
    yield ms_ssim()
    yield manifold(REALS, at_least=2.5, repeats=5)
    yield manifold(3_000, at_least=2.5, repeats=3)
    yield kid()
    yield memory()


def features(n: int, dim: int, seed: int) -> Tensor:
    """Draw correlated, non-negative features, as the last ReLU of a network returns them: float32 ``[n, dim]``."""
    random = torch.Generator().manual_seed(seed)
    mixing = torch.randn(64, dim, generator=torch.Generator().manual_seed(0))
    common = torch.randn(n, 64, generator=random) @ mixing / 8
    return common.add_(torch.randn(n, dim, generator=random)).add_(0.01 * (seed % 7)).relu_()


class _Features(torch.nn.Module):
    """Identity network, with which torchmetrics accepts features instead of images."""

    num_features = FID_DIM

    def forward(self, features: Tensor) -> Tensor:
        return features


def fid() -> Iterator[Result]:
    """Measure FID from the moments of generated images; our code uses the features of the real images themselves."""
    real = features(REALS, FID_DIM, seed=1)
    torchmetrics_fid = FrechetInceptionDistance(feature=_Features())
    torchmetrics_fid.update(real, real=True)
    stream = MomentStream()
    our_seconds = 0.0
    torchmetrics_seconds = 0.0
    for seed in range(FAKES // 5_000):
        fake = features(5_000, FID_DIM, seed=2 + seed)
        our_seconds += seconds_of(functools.partial(stream.add, fake))
        torchmetrics_seconds += seconds_of(functools.partial(torchmetrics_fid.update, fake, real=False))
    moments = stream.moments()
    assert moments is not None

    def torchmetrics_compute() -> Tensor:
        torchmetrics_fid._computed = None  # drop the cached result
        value: Tensor = torchmetrics_fid.compute()
        return value

    def our_compute() -> float:
        return frechet_distance(real=real, fake=moments)

    work = f"FID of {REALS:,} real images and the moments of {FAKES:,} fakes, {FID_DIM:,}-d"
    gap = abs(our_compute() / float(torchmetrics_compute()) - 1)
    wide = torch.randn(REALS, FID_DIM, dtype=torch.float64)
    square = torch.randn(FID_DIM, FID_DIM, dtype=torch.float64)
    symmetric = wide @ wide.T
    facts = {
        "relative difference": gap,
        "moments s": our_seconds,
        "torchmetrics moments s": torchmetrics_seconds,
        f"of ours, a float64 product with the {FID_DIM} x {FID_DIM} covariance s": fastest(lambda: wide @ square),
        f"of ours, the eigenvalues of {REALS} x {REALS} s": fastest(lambda: torch.linalg.eigvalsh(symmetric)),
    }
    yield compared(
        work, "torchmetrics", our_compute, torchmetrics_compute, at_least=30, repeats=3, warm_up=False, facts=facts
    )
    statistics = (_statistics_of_features(real), _statistics_of_moments(moments))
    fidelity = functools.partial(fid_statistics_to_metric, *statistics, verbose=False)
    yield compared(work, "torch-fidelity", our_compute, fidelity, at_least=4, repeats=3, warm_up=False)


def fastest(work: Callable[[], object]) -> float:
    """Return the seconds of the fastest of five calls."""
    return min(seconds_of(work) for _ in range(5))


def _statistics_of_moments(moments: Moments) -> dict[str, object]:
    return {"mu": moments.mean.numpy(), "sigma": moments.covariance.numpy()}


def _statistics_of_features(features: Tensor) -> dict[str, object]:
    return {"mu": features.double().mean(dim=0).numpy(), "sigma": torch.cov(features.double().T).numpy()}


def ms_ssim() -> Result:
    """Measure MS-SSIM of all pairs; torchmetrics is timed on a sample of them."""
    coarse = torch.rand(IMAGES, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    images = torch.nn.functional.interpolate(coarse, size=(SIDE, SIDE), mode="bilinear") * 2 - 1
    pixels = (images + 1) / 2
    pairs = torch.combinations(torch.arange(IMAGES))
    sampled = pairs[:: PAIRS // SAMPLED_PAIRS][:SAMPLED_PAIRS]

    def torchmetrics_pairs() -> None:
        for pair in sampled.split(1):  # the fastest batch of torchmetrics
            first = pixels[pair[:, 0]]
            second = pixels[pair[:, 1]]
            multiscale_structural_similarity_index_measure(first, second, data_range=1.0, normalize="relu")

    return compared(
        f"MS-SSIM of {PAIRS:,} pairs of {IMAGES} images, {SIDE} px, RGB",
        f"torchmetrics ({SAMPLED_PAIRS} pairs, scaled)",
        lambda: pairwise_ms_ssim(images),
        torchmetrics_pairs,
        at_least=15,
        repeats=3,
        counterpart_scale=PAIRS / SAMPLED_PAIRS,
    )


def manifold(n: int, *, at_least: float, repeats: int) -> Result:
    """Measure precision, recall, density and coverage."""
    real = features(n, MANIFOLD_DIM, seed=1)
    fake = features(n, MANIFOLD_DIM, seed=2)
    return compared(
        f"precision, recall, density, coverage of {n:,} and {n:,}, {MANIFOLD_DIM:,}-d",
        "prdc",
        lambda: manifold_metrics(real=real, fake=fake, neighbours=3),
        lambda: prdc.compute_prdc(real.numpy(), fake.numpy(), nearest_k=3),
        at_least=at_least,
        repeats=repeats,
    )


def kid() -> Result:
    """Measure KID of all pairs; torch-fidelity averages random subsets, which adds a spread to its value."""
    real = features(REALS, FID_DIM, seed=1)
    fake = features(KERNEL_SAMPLES, FID_DIM, seed=2)
    subsets = functools.partial(kid_features_to_metric, real, fake, kid_subsets=100, kid_subset_size=1000)
    return compared(
        f"KID of all pairs of {REALS:,} and {KERNEL_SAMPLES:,}, {FID_DIM:,}-d",
        "torch-fidelity, 100 subsets of 1,000",
        lambda: kernel_distance(real=real, fake=fake),
        functools.partial(subsets, verbose=False),
        repeats=3,
        warm_up=False,
    )


def memory() -> Result:
    """Measure the peak memory of streaming a class for its metrics, against holding all of its features."""
    imported, streamed = _peaks_of(_stream_a_class)
    _, held = _peaks_of(_hold_a_class)
    return Result(
        f"all metrics of a class of {FAKES:,} fakes, streamed",
        "holding every feature (no metrics taken)",
        (held / streamed,),
        unit="peak memory",
        facts={"held GB": held},
        bounds={
            "peak GB": (streamed, PROCESS_LIMIT),
            "peak GB beyond libraries": (streamed - imported, GROWTH_LIMIT),
        },
    )


def _batches(n: int, seed: int) -> Iterator[tuple[dict[str, Tensor], Tensor]]:
    """Yield random outputs of the networks by role, and random images, in batches."""
    random = torch.Generator().manual_seed(seed)
    images = torch.rand(BATCH, 3, SIDE, SIDE, generator=random) * 2 - 1
    for _ in range(n // BATCH):
        dims = {"evaluator": FID_DIM, "fid_features": FID_DIM, "manifold_features": MANIFOLD_DIM}
        outputs = {role: torch.randn(BATCH, dim, generator=random).relu_() for role, dim in dims.items()}
        yield outputs | {"predicted": torch.randint(10, (BATCH,), generator=random)}, images.clone()


def _samples(n: int, seed: int, limits: tuple[int | None, ...]) -> list[ClassSample]:
    capacity = Kept(manifold_features=REALS, images=IMAGES)
    samplers = [ClassSampler(0, capacity, limit) for limit in limits]
    for outputs, images in _batches(n, seed):
        for sampler in samplers:
            sampler.add(outputs, images)
    return [sampler.sample() for sampler in samplers]


def _stream_a_class() -> None:
    """Take the metrics of a class as an audit does.

    Compare all generated images with all real ones, and half as many generated images as there are real ones with half
    of the real ones.
    """
    real, real_half = _samples(REALS, 0, (None, REALS // 2))
    fake, fake_half = _samples(FAKES, 1, (None, REALS // 2))
    metrics_of_class(real=real, fake=fake, neighbours=3)
    metrics_of_class(real=real_half, fake=fake_half, neighbours=3)


def _hold_a_class() -> None:
    batches = [outputs for outputs, _ in _batches(FAKES, 1)]
    held = {role: torch.cat([outputs.pop(role) for outputs in batches]) for role in tuple(batches[0])}
    assert len(held["predicted"]) == FAKES


def _peaks_of(work: Callable[[], None]) -> tuple[float, float]:
    """Do some work in a new process; return its largest resident memory before and after, in GB."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send_peaks, args=(work, sender))
    process.start()
    sender.close()  # so that recv fails if the child dies
    peaks: tuple[float, float] = receiver.recv()
    process.join()
    return peaks


def _send_peaks(work: Callable[[], None], sender: Connection) -> None:
    before = _peak()
    work()
    sender.send((before, _peak()))


def _peak() -> float:
    """Return the largest resident memory of this process so far, in GB."""
    if sys.platform == "linux":  # getrusage would start from the memory of the parent
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024 / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e9


if __name__ == "__main__":
    from benchmarks.__main__ import as_line

    for result in run():
        print(as_line(result), flush=True)
