"""Naive oracles, written for clarity."""
