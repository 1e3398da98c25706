"""The lab: models and real images, opened once, and what every analysis needs of them."""

from workflows.lab.lab import Lab

__all__ = ["Lab"]
