"""Class metrics at ImageNet's size: 1,300 reals a class, features of 2,048-d (FID) and 4,096-d (manifold), 256 px."""

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

REALS, FAKES, BATCH = 1_300, 50_000, 50
FID_DIM, MANIFOLD_DIM, SIDE, IMAGES = 2_048, 4_096, 256, 100
PAIRS, SAMPLED_PAIRS = IMAGES * (IMAGES - 1) // 2, 30
PROCESS_LIMIT, GROWTH_LIMIT = 2.5, 1.5
"""GB: of 4 in all, what is left beside a generator and its judges; and of that, beside the imported libraries."""


def run() -> Iterator[Result]:
    """Each metric against a library that computes the same, and the memory of one class."""
    yield from fid()
    yield ms_ssim()
    yield manifold(REALS, at_least=2.5, repeats=5)
    yield manifold(3_000, at_least=2.5, repeats=3)
    yield kid()
    yield memory()


def features(n: int, dim: int, seed: int) -> Tensor:
    """Features as a network's last ReLU gives them, correlated: float32 ``[n, dim]``."""
    random = torch.Generator().manual_seed(seed)
    mixing = torch.randn(64, dim, generator=torch.Generator().manual_seed(0))
    common = torch.randn(n, 64, generator=random) @ mixing / 8
    return common.add_(torch.randn(n, dim, generator=random)).add_(0.01 * (seed % 7)).relu_()


class _Features(torch.nn.Module):
    """Lets torchmetrics take features for images."""

    num_features = FID_DIM

    def forward(self, given: Tensor) -> Tensor:
        return given


def fid() -> Iterator[Result]:
    """From the moments of all fakes, which both sides keep; ours has the reals' features beside."""
    real = features(REALS, FID_DIM, seed=1)
    theirs, stream, spent = FrechetInceptionDistance(feature=_Features()), MomentStream(), [0.0, 0.0]
    theirs.update(real, real=True)
    for seed in range(FAKES // 5_000):
        fake = features(5_000, FID_DIM, seed=2 + seed)
        spent[0] += seconds_of(functools.partial(stream.add, fake))
        spent[1] += seconds_of(functools.partial(theirs.update, fake, real=False))
    moments = stream.moments()
    assert moments is not None

    def torchmetrics_compute() -> Tensor:
        theirs._computed = None  # it keeps its result
        value: Tensor = theirs.compute()
        return value

    def ours() -> float:
        return frechet_distance(real=real, fake=moments)

    work = f"FID of {REALS:,} reals and the moments of {FAKES:,} fakes, {FID_DIM:,}-d"
    gap = abs(ours() / float(torchmetrics_compute()) - 1)
    wide, square = torch.randn(REALS, FID_DIM, dtype=torch.float64), torch.randn(FID_DIM, FID_DIM, dtype=torch.float64)
    symmetric = wide @ wide.T
    facts = {
        "relative difference": gap,
        "moments s": spent[0],
        "torchmetrics moments s": spent[1],
        f"of ours, a float64 product with the {FID_DIM} x {FID_DIM} covariance s": fastest(lambda: wide @ square),
        f"of ours, the eigenvalues of {REALS} x {REALS} s": fastest(lambda: torch.linalg.eigvalsh(symmetric)),
    }
    yield compared(work, "torchmetrics", ours, torchmetrics_compute, at_least=30, repeats=3, warm_up=False, facts=facts)
    statistics = [_statistics(one) for one in (real, moments)]
    fidelity = functools.partial(fid_statistics_to_metric, *statistics, verbose=False)
    yield compared(work, "torch-fidelity", ours, fidelity, at_least=4, repeats=3, warm_up=False)


def fastest(work: Callable[[], object]) -> float:
    """Seconds of the fastest of a few calls."""
    return min(seconds_of(work) for _ in range(5))


def _statistics(given: Tensor | Moments) -> dict[str, object]:
    if isinstance(given, Moments):
        return {"mu": given.mean.numpy(), "sigma": given.covariance.numpy()}
    return {"mu": given.double().mean(dim=0).numpy(), "sigma": torch.cov(given.double().T).numpy()}


def ms_ssim() -> Result:
    """All pairs; torchmetrics on some of them."""
    coarse = torch.rand(IMAGES, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    images = torch.nn.functional.interpolate(coarse, size=(SIDE, SIDE), mode="bilinear") * 2 - 1
    pixels, pairs = (images + 1) / 2, torch.combinations(torch.arange(IMAGES))
    some = pairs[:: PAIRS // SAMPLED_PAIRS][:SAMPLED_PAIRS]

    def torchmetrics_pairs() -> None:
        for part in some.split(1):  # its fastest
            one, other = pixels[part[:, 0]], pixels[part[:, 1]]
            multiscale_structural_similarity_index_measure(one, other, data_range=1.0, normalize="relu")

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
    """Precision, recall, density and coverage."""
    real, fake = features(n, MANIFOLD_DIM, seed=1), features(n, MANIFOLD_DIM, seed=2)
    return compared(
        f"precision, recall, density, coverage of {n:,} and {n:,}, {MANIFOLD_DIM:,}-d",
        "prdc",
        lambda: manifold_metrics(real=real, fake=fake, neighbours=3),
        lambda: prdc.compute_prdc(real.numpy(), fake.numpy(), nearest_k=3),
        at_least=at_least,
        repeats=repeats,
    )


def kid() -> Result:
    """Over all pairs; torch-fidelity's value is a mean over random subsets, so it has a spread that ours has not."""
    real, fake = features(REALS, FID_DIM, seed=1), features(KERNEL_SAMPLES, FID_DIM, seed=2)
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
    """Peak of a process that streams a class and takes its metrics, against one that holds all features."""
    (imported, streamed), (_, held) = _peaks_of(_stream_a_class), _peaks_of(_hold_a_class)
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
    """What networks would see in images, and the images, by the batch."""
    random = torch.Generator().manual_seed(seed)
    images = torch.rand(BATCH, 3, SIDE, SIDE, generator=random) * 2 - 1
    for _ in range(n // BATCH):
        dims = {"evaluator": FID_DIM, "fid_features": FID_DIM, "manifold_features": MANIFOLD_DIM}
        seen = {role: torch.randn(BATCH, dim, generator=random).relu_() for role, dim in dims.items()}
        yield seen | {"correct": torch.rand(BATCH, generator=random) < 0.9}, images.clone()


def _samples(n: int, seed: int, limits: tuple[int | None, ...]) -> list[ClassSample]:
    kept = Kept(manifold_features=REALS, images=IMAGES)
    samplers = [ClassSampler(kept, limit) for limit in limits]
    for seen, images in _batches(n, seed):
        for sampler in samplers:
            sampler.add(seen, images)
    return [sampler.sample() for sampler in samplers]


def _stream_a_class() -> None:
    """As the stage does: all fakes against all reals, and half as many fakes as reals against half of these."""
    real, real_half = _samples(REALS, 0, (None, REALS // 2))
    fake, fake_half = _samples(FAKES, 1, (None, REALS // 2))
    metrics_of_class(real=real, fake=fake, neighbours=3)
    metrics_of_class(real=real_half, fake=fake_half, neighbours=3)


def _hold_a_class() -> None:
    parts = [seen for seen, _ in _batches(FAKES, 1)]
    held = {role: torch.cat([part.pop(role) for part in parts]) for role in tuple(parts[0])}
    assert len(held["correct"]) == FAKES


def _peaks_of(work: Callable[[], None]) -> tuple[float, float]:
    """Largest resident memory of a new process before and after some work, in GB."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send_peaks, args=(work, sender))
    process.start()
    sender.close()  # so that a child that dies ends the wait
    peaks: tuple[float, float] = receiver.recv()
    process.join()
    return peaks


def _send_peaks(work: Callable[[], None], sender: Connection) -> None:
    before = _peak()
    work()
    sender.send((before, _peak()))


def _peak() -> float:
    """Of this process, in GB."""
    if sys.platform == "linux":  # where getrusage starts from what the parent held
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024 / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e9


if __name__ == "__main__":
    from benchmarks.__main__ import as_line

    for result in run():
        print(as_line(result), flush=True)
