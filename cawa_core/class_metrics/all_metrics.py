"""All metrics of one class from features, images and classifications."""

from __future__ import annotations

import dataclasses

from torch import Tensor

from cawa_core.class_metrics.frechet import frechet_distance
from cawa_core.class_metrics.kernel import kernel_distance
from cawa_core.class_metrics.manifold import manifold_metrics
from cawa_core.class_metrics.ms_ssim import SIGMA, WINDOW, pairwise_ms_ssim, usable_scales


@dataclasses.dataclass(frozen=True)
class ImageSet:
    """Images of one class as the metrics see them.

    Attributes:
        features: ``[n, d]``.
        correct: whether the evaluator gives each image to its class, bool ``[n]``.
        images: those whose pairs give MS-SSIM, ``[m <= n, C, H, W]`` in [-1, 1].
    """

    features: Tensor
    correct: Tensor
    images: Tensor

    def rows(self, rows: slice) -> ImageSet:
        """A part of the set; the MS-SSIM images are cut with the same slice."""
        return ImageSet(self.features[rows], self.correct[rows], self.images[rows])


def metrics_of_class(*, real: ImageSet, fake: ImageSet, neighbours: int) -> dict[str, float | int]:
    """The metric and count columns of the ``class_metrics`` table."""
    similarity = pairwise_ms_ssim(fake.images)
    manifold = manifold_metrics(real=real.features, fake=fake.features, neighbours=neighbours)
    return {
        **dataclasses.asdict(manifold),
        "fid": frechet_distance(real=real.features, fake=fake.features),
        "kid": kernel_distance(real=real.features, fake=fake.features),
        "ms_ssim": similarity.mean,
        "classifier_accuracy": float(fake.correct.double().mean()),
        "n_real": len(real.features),
        "n_fake": len(fake.features),
        "ms_ssim_clamped": similarity.n_clamped,
    }


def protocol(evaluator_protocol: str, neighbours: int, image_size: int, ms_ssim_samples: int) -> str:
    """How the metrics were made, in one line."""
    return (
        f"{evaluator_protocol}; k = {neighbours}; FID by covariance, unbiased; KID cubic, all samples; "
        f"MS-SSIM of {ms_ssim_samples} images, {usable_scales(image_size)} scales, window {WINDOW}, sigma {SIGMA}"
    )
