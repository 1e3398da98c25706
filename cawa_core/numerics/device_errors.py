"""Errors that are no fault of a model or of a function, but of the memory or the device."""

from __future__ import annotations

import torch


def is_device_error(error: BaseException | None) -> bool:
    """Return whether an error leaves the process's device unusable, so that all later work there would fail."""
    kind = getattr(torch, "AcceleratorError", ())
    return isinstance(error, kind) or (isinstance(error, RuntimeError) and "CUDA error" in str(error))


def is_machine_error(error: BaseException) -> bool:
    """Return whether an error is a lack of memory or one of the device; CUDA reports these at any later operation."""
    return isinstance(error, torch.OutOfMemoryError) or is_device_error(error)
