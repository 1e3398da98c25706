"""Search for a network's sites: modules that behave like class-conditional batch norms followed by a ReLU."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from cawa_core.errors import InputError
from cawa_core.generators.modules.hooks import Call, Hook, hooked

SitePredicate = Callable[[str, nn.Module], bool]
"""Function that decides by name and module whether a module is a site."""

AFFINE = 1e-4
"""Tolerance of the affinity in the input, relative to the largest output."""
SAME = 1e-5
"""Largest difference between rows, relative to the largest value, at which scales and shifts count as equal."""

LISTED = 4
"""Maximum modules that an error lists; it counts the others."""

FORM = "called with a feature map and a condition to return gain(condition) * batch_norm(x) + offset(condition)"


def find_sites(network: nn.Module, images: Callable[[], Tensor], predicate: SitePredicate | None) -> dict[str, Call]:
    """Find the sites by name in forward order, each with its call in a pass over different latents and classes.

    Args:
        network: network to search.
        images: function that runs the forward pass.
        predicate: function that decides which modules are sites; None selects all modules of the form.

    Raises:
        InputError: there are no sites, a site is called twice or not followed by a ReLU, or a module that the predicate
            selects does not have the form.
    """
    calls = _record_calls(network, images)
    if predicate is None:
        conditioned = {name: module_calls[0] for name, module_calls in calls.items()}
        misfits = {name: misfit(call) for name, call in conditioned.items() if call and call.is_conditioned}
        names = [name for name, reason in misfits.items() if reason is None]
    else:
        selected = [name for name, module in network.named_modules() if predicate(name, module)]
        misfits = {name: misfit(calls[name][0]) if name in calls else "is never called" for name in selected}
        names = sorted(selected, key=list(calls).index) if not any(misfits.values()) else []
    if not names:
        raise _no_sites_error(len(calls), misfits, predicate)
    sites = {name: _only_call(name, calls[name]) for name in names if not _is_inside(name, names)}
    _require_relus(sites, images)
    return sites


def misfit(call: Call | None) -> str | None:
    """Say why a call is not that of a class-conditional batch norm; return None if it is."""
    if call is None:
        return "does not return a feature map of its input's shape"
    noise = torch.randn(call.shape, generator=torch.Generator().manual_seed(0)).to(call.device)
    zero = call.output(torch.zeros(call.shape, device=call.device))
    shift = zero[:, :, :1, :1].clone()
    scale = call.output(torch.ones(call.shape, device=call.device))[:, :, :1, :1] - shift
    output = call.output(noise.clone())
    if not ((output - torch.addcmul(shift, scale, noise)).abs().max() <= AFFINE * output.abs().max()):
        return "is not an affine function of each channel of its input"
    pair = torch.cat([scale, shift], dim=1)
    if (pair - pair[:1]).abs().max() <= SAME * pair.abs().max():
        return "does not depend on latent or class"
    return None


def _record_calls(network: nn.Module, images: Callable[[], Tensor]) -> dict[str, list[Call | None]]:
    """Record the calls of every module; modules are in the order in which they first return."""
    calls: dict[str, list[Call | None]] = {}

    def recorder(name: str) -> Hook:
        def record(module: nn.Module, args: Any, kwargs: Any, output: object) -> None:  # noqa: ANN401
            calls.setdefault(name, []).append(Call.record(module, args, kwargs, output))

        return record

    with hooked([(module, recorder(name)) for name, module in network.named_modules()]):
        images()
    return calls


def _is_inside(name: str, names: list[str]) -> bool:
    return any(name.startswith(f"{other}.") for other in names)


def _only_call(name: str, calls: list[Call | None]) -> Call:
    if len(calls) > 1:
        raise InputError(
            f"network must call each class-conditional batch norm once per pass; {name} is called {len(calls)} times; "
            "give each call its own module"
        )
    assert calls[0] is not None
    if calls[0].shape[2] != calls[0].shape[3]:
        raise InputError(f"network must have square feature maps; {name} gets {list(calls[0].shape[2:])}")
    return calls[0]


def _require_relus(sites: dict[str, Call], images: Callable[[], Tensor]) -> None:
    """Check that a ReLU follows each site: one more ReLU must then leave the images bit-identical."""
    original = images()

    def followed_by_relu(calls: Iterable[Call]) -> bool:
        with hooked([(call.module, _rectify) for call in calls]):
            return torch.equal(images(), original)

    if not followed_by_relu(sites.values()):
        names = [name for name, call in sites.items() if not followed_by_relu([call])]
        raise InputError(
            f"network must have a ReLU, and nothing else, after each class-conditional batch norm; "
            f"{', '.join(names)} is not followed by a ReLU; exclude it with site_predicate"
        )


def _rectify(module: nn.Module, args: Any, kwargs: Any, output: Tensor) -> Tensor:  # noqa: ANN401, ARG001
    return functional.relu(output)


def _no_sites_error(n_called: int, misfits: dict[str, str | None], predicate: SitePredicate | None) -> InputError:
    reasons = [f"{name} {reason}" for name, reason in misfits.items() if reason]
    listing = "; ".join(reasons[:LISTED])
    if len(reasons) > LISTED:
        listing += f"; and {len(reasons) - LISTED} more"
    if predicate is not None:
        return InputError(f"site_predicate must choose modules of the form: {FORM}; {listing or 'it chose none'}")
    details = f": {listing}" if listing else ""
    return InputError(
        f"network must hold class-conditional batch norms: {FORM}; none of {n_called} modules that ran fits{details}; "
        "give ModuleGenerator site_predicate=lambda name, module: ... to choose them"
    )
