"""Procedural worlds: unlimited pictures whose content is known at every pixel."""
