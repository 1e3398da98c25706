"""Which modules of a network are sites: class-conditional batch norms followed by a ReLU, found by trying."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from cawa_core.errors import InputError
from cawa_core.generators.module_hooks import Call, Hook, hooked

SitePredicate = Callable[[str, nn.Module], bool]
"""Name and module => is it a site."""

AFFINE = 1e-4
"""Tolerance for the affinity in the input, relative to the largest output."""
SAME = 1e-5
"""Scales and shifts that differ less between rows, relative to the largest, are the same."""

LISTED = 4
"""Modules that an error lists before it counts."""

FORM = "called with a feature map and a condition to return gain(condition) * batch_norm(x) + offset(condition)"


def find_sites(network: nn.Module, images: Callable[[], Tensor], predicate: SitePredicate | None) -> dict[str, Call]:
    """Sites by name in forward order, each with its call in a pass over latents and classes that differ.

    Args:
        network: what to look in.
        images: runs the forward pass.
        predicate: which modules are sites; None: whichever have the form.

    Raises:
        InputError: there are none, one is called twice or is not followed by a ReLU, or a chosen one does not fit.
    """
    calls = _recorded(network, images)
    if predicate is None:
        tried = {name: misfit(seen[0]) for name, seen in calls.items() if seen[0] and seen[0].is_conditioned}
        names = [name for name, reason in tried.items() if reason is None]
    else:
        chosen = [name for name, module in network.named_modules() if predicate(name, module)]
        tried = {name: misfit(calls[name][0]) if name in calls else "is never called" for name in chosen}
        names = sorted(chosen, key=list(calls).index) if not any(tried.values()) else []
    if not names:
        raise _none_found(len(calls), tried, predicate)
    sites = {name: _only_call(name, calls[name]) for name in names if not _is_inside(name, names)}
    _require_relus(sites, images)
    return sites


def misfit(call: Call | None) -> str | None:
    """Why a call is not that of a class-conditional batch norm; None if it is."""
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


def _recorded(network: nn.Module, images: Callable[[], Tensor]) -> dict[str, list[Call | None]]:
    """Calls of every module, in the order in which they return for the first time."""
    calls: dict[str, list[Call | None]] = {}

    def recorder(name: str) -> Hook:
        def record(module: nn.Module, args: Any, kwargs: Any, output: object) -> None:  # noqa: ANN401
            calls.setdefault(name, []).append(Call.seen(module, args, kwargs, output))

        return record

    with hooked([(module, recorder(name)) for name, module in network.named_modules()]):
        images()
    return calls


def _is_inside(name: str, names: list[str]) -> bool:
    return any(name.startswith(f"{other}.") for other in names)


def _only_call(name: str, calls: list[Call | None]) -> Call:
    if len(calls) > 1:
        raise InputError(
            f"network must call each class-conditional batch norm once a pass; {name} is called {len(calls)} times; "
            "give each call a module of its own"
        )
    assert calls[0] is not None
    if calls[0].shape[2] != calls[0].shape[3]:
        raise InputError(f"network must have square feature maps; {name} sees {list(calls[0].shape[2:])}")
    return calls[0]


def _require_relus(sites: dict[str, Call], images: Callable[[], Tensor]) -> None:
    """A ReLU more changes no bit where a ReLU follows."""
    plain = images()

    def unchanged(calls: Iterable[Call]) -> bool:
        with hooked([(call.module, _rectify) for call in calls]):
            return torch.equal(images(), plain)

    if not unchanged(sites.values()):
        without = [name for name, call in sites.items() if not unchanged([call])]
        raise InputError(
            f"network must have a ReLU, and nothing else, after each class-conditional batch norm; "
            f"{', '.join(without)} is not followed by a ReLU; leave it out with site_predicate"
        )


def _rectify(module: nn.Module, args: Any, kwargs: Any, output: Tensor) -> Tensor:  # noqa: ANN401, ARG001
    return functional.relu(output)


def _none_found(n_called: int, tried: dict[str, str | None], predicate: SitePredicate | None) -> InputError:
    reasons = [f"{name} {reason}" for name, reason in tried.items() if reason]
    listed = "; ".join(reasons[:LISTED]) + (f"; and {len(reasons) - LISTED} more" if len(reasons) > LISTED else "")
    if predicate is not None:
        return InputError(f"site_predicate must choose modules of the form: {FORM}; {listed or 'it chose none'}")
    return InputError(
        f"network must hold class-conditional batch norms: {FORM}; looked at {n_called} modules that ran, none fits"
        f"{listed and ': '}{listed}; give ModuleGenerator site_predicate=lambda name, module: ... to choose them"
    )
