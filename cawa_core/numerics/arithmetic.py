"""The arithmetic that networks compute in, and the full float32 that statistics need whatever the networks use."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import get_args

import torch

from cawa_core.errors import InputError
from cawa_core.options import Precision

PRECISIONS: tuple[str, ...] = get_args(Precision)


@contextlib.contextmanager
def arithmetic(precision: str, device: torch.device) -> Iterator[None]:
    """Run networks in one of :data:`PRECISIONS`.

    ``float32`` is float32 throughout. ``tf32`` keeps float32 tensors but lets CUDA round the factors of
    convolutions and matrix products to ten bits of mantissa. ``bfloat16`` and ``float16`` are autocast.
    """
    with contextlib.ExitStack() as settings:
        settings.enter_context(_tf32(precision == "tf32"))
        if precision in ("bfloat16", "float16"):
            settings.enter_context(torch.autocast(device.type, dtype=getattr(torch, precision)))
        yield


@contextlib.contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Compute statistics in the type of their tensors: neither autocast nor TF32."""
    with torch.autocast(device.type, enabled=False), _tf32(False):
        yield


def require_precision(precision: str, device: torch.device) -> None:
    """Check that a device can compute in an arithmetic.

    Raises:
        InputError: TF32 is requested on another device than CUDA.
    """
    if precision == "tf32" and device.type != "cuda":
        raise InputError(
            f"dtype tf32 needs --device cuda, the only kind of device that has it; got {device.type}: use float32, "
            "or bfloat16 where it is fast"
        )


def use_exact_kernels() -> None:
    """Set up CUDA so that float32 is float32 and the same pass gives the same bits: an empty mask changes nothing.

    Half-precision products add up in float32, so that their rounding does not depend on how a library splits them.
    """
    _allow_tf32(products=False, convolutions=False)
    torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False


@contextlib.contextmanager
def _tf32(allowed: bool) -> Iterator[None]:
    products = torch.backends.cuda.matmul.allow_tf32
    convolutions = torch.backends.cudnn.allow_tf32
    _allow_tf32(products=allowed, convolutions=allowed)
    try:
        yield
    finally:
        _allow_tf32(products=products, convolutions=convolutions)


def _allow_tf32(*, products: bool, convolutions: bool) -> None:
    torch.backends.cuda.matmul.allow_tf32 = products
    torch.backends.cudnn.allow_tf32 = convolutions
