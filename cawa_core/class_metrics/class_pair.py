"""The real and generated images of one class, and all metrics of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cached_property

from cawa_core.class_metrics.class_sample import ClassSample
from cawa_core.class_metrics.frechet import frechet_distance
from cawa_core.class_metrics.kernel import KERNEL_SAMPLES, kernel_distance
from cawa_core.class_metrics.manifold import ManifoldMetrics, manifold_metrics
from cawa_core.class_metrics.ms_ssim import SIGMA, WINDOW, PairwiseSimilarity, pairwise_ms_ssim, usable_scales
from cawa_core.class_metrics.records import METRICS
from cawa_core.numerics.arithmetic import full_precision


@dataclasses.dataclass(frozen=True)
class ClassPair:
    """The real and the generated images of a class, with results that several metrics share, computed once.

    Attributes:
        real, fake: samples of the real and of the generated images.
        neighbours: k of the k nearest neighbours in precision, recall, density and coverage.
    """

    real: ClassSample
    fake: ClassSample
    neighbours: int

    @cached_property
    def manifold(self) -> ManifoldMetrics:
        """Precision, recall, density and coverage of equally many real and generated images (Appendix H)."""
        real = self.real.manifold_features
        fake = self.fake.manifold_features
        n = min(len(real), len(fake))
        return manifold_metrics(real=real[:n], fake=fake[:n], neighbours=self.neighbours)

    @cached_property
    def similarity(self) -> PairwiseSimilarity:
        """MS-SSIM over pairs of generated images."""
        return pairwise_ms_ssim(self.fake.images)

    @property
    def frechet_distance(self) -> float:
        """Fréchet distance (FID) between the real and the generated images."""
        return frechet_distance(real=self.real.fid_statistics, fake=self.fake.fid_statistics)

    @property
    def kernel_distance(self) -> float:
        """Kernel distance (KID) between the real and the generated images."""
        return kernel_distance(real=self.real.fid_features, fake=self.fake.fid_features)


def metrics_of_class(*, real: ClassSample, fake: ClassSample, neighbours: int) -> dict[str, float | int]:
    """Compute the metric and count columns of the ``class_metrics`` table.

    The arithmetic is float32 and float64 (no TF32), whatever precision the networks use.
    """
    with full_precision(fake.images.device):
        pair = ClassPair(real, fake, neighbours)
        metrics = {metric.name: metric.compute(pair) for metric in METRICS}
        counts = {
            "n_real": real.n_images,
            "n_fake": fake.n_images,
            "ms_ssim_clamped": pair.similarity.n_clamped,
        }
        return metrics | counts


def protocol(networks: Mapping[str, str], neighbours: int, image_size: int, ms_ssim_samples: int) -> str:
    """Describe in one line how the metrics are computed; ``networks`` maps each role to its network's protocol."""
    roles: dict[str, list[str]] = {}
    for role, text in networks.items():
        roles.setdefault(text, []).append(role)
    if len(roles) > 1:
        described = "; ".join(f"{', '.join(names)}: {text}" for text, names in roles.items())
    else:
        described = "; ".join(roles)
    return (
        f"{described}; k = {neighbours}; FID by covariance, unbiased; KID cubic, up to {KERNEL_SAMPLES} samples; "
        f"MS-SSIM of up to {ms_ssim_samples} images, {usable_scales(image_size)} scales, window {WINDOW}, sigma {SIGMA}"
    )
