"""Mean and deviation by which a class-conditional batch norm normalises its input."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call

from cawa_core.errors import InputError
from cawa_core.generators.module_hooks import Call

Statistics = Callable[[nn.Module], tuple[Tensor, Tensor]]
"""Site module => mean and variance + eps of its batch norm, ``[C]`` each."""

BUFFERS = (("running_mean", "running_var"), ("stored_mean", "stored_var"))
IN_USE = 1e-3
"""Tolerance, relative to the largest gain, between the gain measured with the statistics and without any."""


def mean_and_deviation(name: str, call: Call, given: Statistics | None) -> tuple[Tensor, Tensor]:
    """Mean and deviation ``[C]`` of a site's batch norm.

    Raises:
        InputError: not found, or not of that form.
    """
    mean, variance = (one.to(call.device) for one in (given(call.module) if given else _found(name, call.module)[2:]))
    for label, value in (("mean", mean), ("variance", variance)):
        if value.shape != call.shape[1:2] or not value.isfinite().all():
            raise InputError(
                f"statistics must be {call.shape[1]} finite numbers a site; got a {label} of shape "
                f"{list(value.shape)} for {name}"
            )
    if (variance <= 0).any():
        raise InputError(f"statistics must give variance + eps above 0; got {variance.min():g} for {name}")
    return mean, variance.sqrt()


def gains_and_offsets(call: Call, mean: Tensor, deviation: Tensor) -> tuple[Tensor, Tensor]:
    """Gain and offset of eq. 1 ``[n, C]`` each: inputs that normalise to 0 and to 1 yield offset and gain + offset."""
    zero = mean[:, None, None].expand(call.shape)
    offset = call.output(zero.clone())[:, :, 0, 0]
    return call.output(zero + deviation[:, None, None])[:, :, 0, 0] - offset, offset


def require_in_use(name: str, call: Call) -> None:
    """Check that the buffers that were found are all that the module normalises by.

    With mean 0 and variance 1 - eps in their place, the module itself must show the same gains.

    Raises:
        InputError: it shows others, as where buffers hold sums to be divided by a count.
    """
    prefix, names, mean, variance = _found(name, call.module)
    inert = {prefix + names[0]: torch.zeros_like(mean), prefix + names[1]: torch.ones_like(mean)}
    current = dict(call.module.named_buffers())
    inert[prefix + names[1]] -= variance - current[prefix + names[1]]

    def output(value: float) -> Tensor:
        args, kwargs = call.with_features(torch.full(call.shape, value, dtype=call.dtype, device=call.device))
        return functional_call(call.module, inert, args, kwargs)[:, :, 0, 0]  # type: ignore[no-any-return]

    offset = output(0)
    expected, measured = output(1) - offset, gains_and_offsets(call, mean, variance.sqrt())
    tolerance = IN_USE * max(expected.abs().max().item(), offset.abs().max().item())
    if max((measured[0] - expected).abs().max(), (measured[1] - offset).abs().max()) > tolerance:
        raise _missing(name, f"does not normalise by its {names[0]} and {names[1]} alone")


def _found(name: str, module: nn.Module) -> tuple[str, tuple[str, str], Tensor, Tensor]:
    """Prefix and names of the buffers, mean, and variance + eps."""
    found = [
        (prefix, holder, names)
        for prefix, holder in module.named_modules()
        for names in BUFFERS
        if set(names) <= dict(holder.named_buffers(recurse=False)).keys()
    ]
    if len(found) != 1:
        raise _missing(name, f"holds {len(found)} batch norms with buffers running_mean, running_var (or stored_...)")
    prefix, holder, names = found[0]
    eps = getattr(holder, "eps", getattr(module, "eps", None))
    if not isinstance(eps, float):
        raise _missing(name, "has no eps beside its batch norm's buffers")
    mean, variance = (holder.get_buffer(one) for one in names)
    return f"{prefix}." if prefix else "", names, mean, variance + eps


def _missing(name: str, found: str) -> InputError:
    return InputError(
        f"statistics must say what {name} normalises its input by: it {found}; give ModuleGenerator "
        "statistics=lambda site: (mean, variance_plus_eps), [C] each"
    )
