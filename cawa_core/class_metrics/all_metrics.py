"""All metrics of one class from features, images and classifications."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from torch import Tensor

from cawa_core.class_metrics.frechet import frechet_distance
from cawa_core.class_metrics.kernel import kernel_distance
from cawa_core.class_metrics.manifold import manifold_metrics
from cawa_core.class_metrics.ms_ssim import SIGMA, WINDOW, pairwise_ms_ssim, usable_scales


@dataclasses.dataclass(frozen=True)
class ImageSet:
    """Images of one class as the metrics see them.

    Attributes:
        features: of the evaluator ``[n, d]``.
        fid_features: what FID and KID compare, ``[n, d']``.
        manifold_features: what precision, recall, density and coverage compare, ``[n, d'']``.
        correct: whether the evaluator gives each image to its class, bool ``[n]``.
        images: those whose pairs give MS-SSIM, ``[m <= n, C, H, W]`` in [-1, 1].
    """

    features: Tensor
    fid_features: Tensor
    manifold_features: Tensor
    correct: Tensor
    images: Tensor

    def rows(self, rows: slice) -> ImageSet:
        """A part of the set; the MS-SSIM images are cut with the same slice."""
        return ImageSet(**{field.name: getattr(self, field.name)[rows] for field in dataclasses.fields(self)})


def metrics_of_class(*, real: ImageSet, fake: ImageSet, neighbours: int) -> dict[str, float | int]:
    """The metric and count columns of the ``class_metrics`` table."""
    similarity = pairwise_ms_ssim(fake.images)
    n = min(len(real.features), len(fake.features))  # as many fakes as reals (Appendix H)
    manifold = manifold_metrics(real=real.manifold_features[:n], fake=fake.manifold_features[:n], neighbours=neighbours)
    return {
        **dataclasses.asdict(manifold),
        "fid": frechet_distance(real=real.fid_features, fake=fake.fid_features),
        "kid": kernel_distance(real=real.fid_features, fake=fake.fid_features),
        "ms_ssim": similarity.mean,
        "classifier_accuracy": float(fake.correct.double().mean()),
        "n_real": len(real.features),
        "n_fake": len(fake.features),
        "ms_ssim_clamped": similarity.n_clamped,
    }


def protocol(judges: Mapping[str, str], neighbours: int, image_size: int, ms_ssim_samples: int) -> str:
    """How the metrics were made, in one line; ``judges``: role => protocol of the network in it."""
    shown = dict.fromkeys(judges.values())
    roles = {text: [role for role in judges if judges[role] == text] for text in shown}
    networks = "; ".join(f"{', '.join(roles[text])}: {text}" if len(shown) > 1 else text for text in shown)
    return (
        f"{networks}; k = {neighbours}; FID by covariance, unbiased; KID cubic, all samples; "
        f"MS-SSIM of {ms_ssim_samples} images, {usable_scales(image_size)} scales, window {WINDOW}, sigma {SIGMA}"
    )
