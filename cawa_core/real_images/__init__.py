"""Real images by name: what generated images are compared with."""

from cawa_core.real_images.base import RealImages
from cawa_core.registry import Registry

REAL_IMAGES: Registry[RealImages] = Registry("real_images")
REAL_IMAGES.register("fashion-mnist-test", "cawa_core.real_images.fashion:FashionMnistTest")
