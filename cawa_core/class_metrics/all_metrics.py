"""All metrics of one class from samples of its real and generated images."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from cawa_core.arithmetic import full_precision
from cawa_core.class_metrics.class_sample import ClassSample
from cawa_core.class_metrics.frechet import frechet_distance
from cawa_core.class_metrics.kernel import KERNEL_SAMPLES, kernel_distance
from cawa_core.class_metrics.manifold import manifold_metrics
from cawa_core.class_metrics.ms_ssim import SIGMA, WINDOW, pairwise_ms_ssim, usable_scales


def metrics_of_class(*, real: ClassSample, fake: ClassSample, neighbours: int) -> dict[str, float | int]:
    """Compute the metric and count columns of the ``class_metrics`` table.

    The arithmetic is float32 and float64 (no TF32), whatever precision the networks use.
    """
    with full_precision(fake.images.device):
        return _metrics(real, fake, neighbours)


def _metrics(real: ClassSample, fake: ClassSample, neighbours: int) -> dict[str, float | int]:
    similarity = pairwise_ms_ssim(fake.images)
    n = min(len(real.manifold_features), len(fake.manifold_features))  # equally many of both (Appendix H)
    manifold = manifold_metrics(real=real.manifold_features[:n], fake=fake.manifold_features[:n], neighbours=neighbours)
    return {
        **dataclasses.asdict(manifold),
        "fid": frechet_distance(real=real.fid_statistics, fake=fake.fid_statistics),
        "kid": kernel_distance(real=real.fid_features, fake=fake.fid_features),
        "ms_ssim": similarity.mean,
        "classifier_accuracy": fake.classifier_accuracy,
        "n_real": real.n_images,
        "n_fake": fake.n_images,
        "ms_ssim_clamped": similarity.n_clamped,
    }


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
