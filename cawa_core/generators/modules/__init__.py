"""Generators from any ``torch.nn.Module`` with class-conditional normalisation, through hooks."""

from cawa_core.generators.modules.generator import ModuleGenerator

__all__ = ["ModuleGenerator"]
