"""Registry of generators."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cawa_core.registry import Registry

if TYPE_CHECKING:
    from cawa_core.generators.base import Generator

IMAGENET_AUDIT = {
    "evaluator": "inception-v3",
    "fid_features": "fid-inception",
    "manifold_features": "vgg16",
    "real_images": "",
    "masking_estimator": "exact",
    "masking_latents": 1000,
    "monte_carlo_classes": 10,
}
"""Defaults for ImageNet models: the paper's evaluators (Appendix H) and exact masks with a fixed number of latents
(sec. 4.1). The user must give the real images.

Monte Carlo awareness of ten classes checks the closed form; sampling all thousand takes hours.
"""

GENERATORS: Registry[Generator] = Registry("generator", group="cawa.generators")
GENERATORS.register("fashion-biggan", "cawa_core.generators.small_biggan.generator:FashionBigGAN.bundled")
GENERATORS.register(
    "scenes-biggan",
    "cawa_core.generators.small_biggan.generator:ScenesBigGAN.bundled",
    evaluator="scenes-cnn",
    segmenter="scenes-segmenter",
    real_images="scenes",
    # 30 classes and 752 channels: on a laptop with two cores, everything takes about a quarter of an hour.
    masking_latents=24,
    exact_latents=8,
    masking_group_size=3,
    control_repeats=4,
    effect_latents=3,
    metric_samples=600,
    edit_candidates=128,
    hybrid_tried_latents=16,
    hybrid_scored_latents=64,
    artifact_latents=240,
    artifact_scored_latents=64,
    artifact_random_sets=1,
    strokes_per_class=1,
    latent_samples=1,
    latent_grid=(-3.0, 0.0, 3.0),
    direction_steps=4,
    direction_latents=1,
    translation_latents=4,
)
GENERATORS.register("biggan", "cawa_core.generators.biggan.generator:load_biggan", **IMAGENET_AUDIT)
for _size in (128, 256, 512):
    GENERATORS.register(
        f"biggan-deep-{_size}",
        "cawa_core.generators.biggan.deep:load_biggan_deep",
        masking_group_size=5,  # Appendix B
        **IMAGENET_AUDIT,
    )
