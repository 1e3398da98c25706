"""Registry of evaluators: networks that score images and extract features from them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cawa_core.registry import Registry

if TYPE_CHECKING:
    from cawa_core.evaluators.base import FeatureExtractor

EVALUATORS: Registry[FeatureExtractor] = Registry("evaluator", group="cawa.evaluators")
EVALUATORS.register("fashion-cnn", "cawa_core.evaluators.small_cnn:FashionCNN.bundled")
EVALUATORS.register("scenes-cnn", "cawa_core.evaluators.small_cnn:ScenesCNN.bundled")
EVALUATORS.register("inception-v3", "cawa_core.evaluators.imagenet:load_inception_v3")
EVALUATORS.register("vgg16", "cawa_core.evaluators.imagenet:load_vgg16")
EVALUATORS.register("fid-inception", "cawa_core.evaluators.fid_inception:load_fid_inception")
EVALUATORS.register_family("torchvision", "cawa_core.evaluators.imagenet:load_torchvision")
EVALUATORS.register_family("timm", "cawa_core.evaluators.timm_models:load_timm")
