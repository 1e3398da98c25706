"""Evaluators by name: the networks that score images and describe them by features."""

from cawa_core.evaluators.base import Evaluator
from cawa_core.registry import Registry

EVALUATORS: Registry[Evaluator] = Registry("evaluator")
EVALUATORS.register("fashion-cnn", "cawa_core.evaluators.fashion:FashionCNN.bundled")
