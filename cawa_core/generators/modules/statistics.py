"""Mean and deviation by which a class-conditional batch norm normalises its input."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call

from cawa_core.errors import InputError
from cawa_core.generators.modules.hooks import Call

Statistics = Callable[[nn.Module], tuple[Tensor, Tensor]]
"""Function from the module of a site to mean and variance + eps of its batch norm, ``[C]`` each."""

BUFFERS = (("running_mean", "running_var"), ("stored_mean", "stored_var"))
IN_USE = 1e-3
"""Tolerance, relative to the largest gain, between gains measured with the statistics and with neutral ones."""


def mean_and_deviation(name: str, call: Call, statistics: Statistics | None) -> tuple[Tensor, Tensor]:
    """Return mean and deviation ``[C]`` of a site's batch norm, by ``statistics`` or else from its buffers.

    Raises:
        InputError: there are no statistics, or not ``[C]`` finite values each.
    """
    if statistics is not None:
        mean, variance = statistics(call.module)
    else:
        _, _, mean, variance = _find_buffers(name, call.module)
    mean = mean.to(call.device)
    variance = variance.to(call.device)
    for label, value in (("mean", mean), ("variance", variance)):
        if value.shape != call.shape[1:2] or not value.isfinite().all():
            raise InputError(
                f"statistics must be {call.shape[1]} finite numbers per site; got a {label} of shape "
                f"{list(value.shape)} for {name}"
            )
    if (variance <= 0).any():
        raise InputError(f"statistics must give variance + eps above 0; got {variance.min():g} for {name}")
    return mean, variance.sqrt()


def gains_and_offsets(call: Call, mean: Tensor, deviation: Tensor) -> tuple[Tensor, Tensor]:
    """Measure gain and offset of eq. 1, ``[n, C]`` each.

    An input that normalises to 0 gives the offset; one that normalises to 1 gives gain + offset.
    """
    zero = mean[:, None, None].expand(call.shape)
    offset = call.output(zero.clone())[:, :, 0, 0]
    return call.output(zero + deviation[:, None, None])[:, :, 0, 0] - offset, offset


def require_in_use(name: str, call: Call) -> None:
    """Check that the module normalises by its buffers and nothing else.

    With mean 0 and variance 1 - eps in their place, the module must give the same gains and offsets.

    Raises:
        InputError: it gives others, for example because the buffers hold sums to be divided by a count.
    """
    prefix, names, mean, variance = _find_buffers(name, call.module)
    neutral = {prefix + names[0]: torch.zeros_like(mean), prefix + names[1]: torch.ones_like(mean)}
    current = dict(call.module.named_buffers())
    neutral[prefix + names[1]] -= variance - current[prefix + names[1]]

    def output(value: float) -> Tensor:
        args, kwargs = call.with_features(torch.full(call.shape, value, dtype=call.dtype, device=call.device))
        return functional_call(call.module, neutral, args, kwargs)[:, :, 0, 0]  # type: ignore[no-any-return]

    offset = output(0)
    gain = output(1) - offset
    measured_gain, measured_offset = gains_and_offsets(call, mean, variance.sqrt())
    tolerance = IN_USE * max(gain.abs().max().item(), offset.abs().max().item())
    if max((measured_gain - gain).abs().max(), (measured_offset - offset).abs().max()) > tolerance:
        raise _statistics_error(name, f"does not normalise by its {names[0]} and {names[1]} alone")


def _find_buffers(name: str, module: nn.Module) -> tuple[str, tuple[str, str], Tensor, Tensor]:
    """Return prefix and names of a site's buffers, its mean, and its variance + eps."""
    holders = [
        (prefix, holder, names)
        for prefix, holder in module.named_modules()
        for names in BUFFERS
        if set(names) <= dict(holder.named_buffers(recurse=False)).keys()
    ]
    if len(holders) != 1:
        raise _statistics_error(
            name, f"holds {len(holders)} batch norms with buffers running_mean, running_var (or stored_...)"
        )
    prefix, holder, names = holders[0]
    eps = getattr(holder, "eps", getattr(module, "eps", None))
    if not isinstance(eps, float):
        raise _statistics_error(name, "has no eps beside its batch norm's buffers")
    mean, variance = (holder.get_buffer(buffer) for buffer in names)
    return f"{prefix}." if prefix else "", names, mean, variance + eps


def _statistics_error(name: str, reason: str) -> InputError:
    return InputError(
        f"statistics must say what {name} normalises its input by: it {reason}; give ModuleGenerator "
        "statistics=lambda site: (mean, variance_plus_eps), [C] each"
    )
