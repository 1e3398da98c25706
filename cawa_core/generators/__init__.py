"""Generators by name."""

from cawa_core.generators.base import Generator
from cawa_core.registry import Registry

GENERATORS: Registry[Generator] = Registry("generator")
GENERATORS.register("fashion-biggan", "cawa_core.generators.fashion:FashionBigGAN.bundled")
