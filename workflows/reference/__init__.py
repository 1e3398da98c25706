"""Retrain the bundled models from scratch: ``python -m workflows.reference`` (``make reference``)."""
