"""Choice of the weights among what a training loop saves: the average over steps first, then the only generator."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from torch import Tensor

from cawa_core.weights.pickled_tensors import OtherTensor, StoredTensor
from cawa_core.weights.unpickling import Described, Name

AVERAGED = re.compile(r"(^|_)(ema|averaged?|shadow)(_|$)|^g_?ema|^gs$", re.IGNORECASE)
"""Keys of weights that were averaged over training steps."""
USUAL = re.compile(
    r"^(g|net_?g|gen|generator|model|network|net|params|weights)?(_?(state_?dict|model|weights))?$", re.IGNORECASE
)
"""Keys of weights as the last training step left them."""
OTHERS = re.compile(
    r"^(d|net_?d|dis|disc|discriminator|critic)(_|$)|_(d|disc|discriminator)$|optim|sched|scaler", re.IGNORECASE
)
"""Keys of discriminators and of the state of training."""
PREFIXES = ("module.", "generator.", "model.", "netG.", "G.", "net.")
"""Prefixes that wrappers of a network add to all its names."""
OTHER_PREFIXES = ("discriminator.", "netD.", "D.", "criterion.", "loss.")
COMPILED = "_orig_mod."
"""Part that ``torch.compile`` adds to names, at any place."""

MAX_DEPTH = 3
"""Keys that may lead to the weights, one inside another."""
LISTED = 5
SHOWN_LETTERS = 100

TENSORS = (Tensor, StoredTensor, OtherTensor)


class SelectionError(ValueError):
    """The content holds no weights, or several sets of them.

    Attributes:
        keys: keys of the sets of weights.
    """

    def __init__(self, message: str, keys: Collection[str] = ()) -> None:
        super().__init__(message)
        self.keys = tuple(keys)


def select(content: Any, key: str = "") -> tuple[Mapping[Any, Any], str]:  # noqa: ANN401
    """Choose the map of names to tensors in a checkpoint's content.

    Args:
        content: maps, tensors and anything else.
        key: key of the weights to take; empty for those averaged over training steps, or the only ones.

    Returns:
        The map, and the keys that lead to it, joined by dots; empty if it is the whole content.

    Raises:
        SelectionError: there is no such map, or more than one that it could be.
    """
    path: list[str] = []
    while len(path) <= MAX_DEPTH:
        if not isinstance(content, Mapping):
            raise SelectionError(f"it holds {kind(content)}")
        holders = [name for name, value in content.items() if isinstance(name, str) and _leads_to_tensors(value)]
        if key and not path and key not in holders:
            raise SelectionError(f"it holds none under {shown(key)}, but under {listed(holders)}", holders)
        if not holders:
            return content, ".".join(path)
        beside_tensors = any(isinstance(value, TENSORS) for value in content.values())
        chosen = key if key and not path else _preferred(holders, beside_tensors=beside_tensors)
        path.append(chosen)
        content = content[chosen]
    raise SelectionError(f"it holds them more than {MAX_DEPTH} levels down")


def without_prefix(tensors: Mapping[str, Tensor], expected: Collection[str]) -> dict[str, Tensor]:
    """Remove what wrappers of a network add to its names, unless names are the expected ones already.

    Args:
        tensors: values by name; those of a discriminator beside them are left out.
        expected: some names of the network, such as the one that no checkpoint of it lacks.
    """
    plain = {name.replace(COMPILED, ""): tensor for name, tensor in tensors.items()}
    if len(plain) < len(tensors):
        return dict(tensors)
    while plain and not any(name in plain for name in expected):
        names = [name for name in plain if not name.startswith(OTHER_PREFIXES)]
        prefix = next((prefix for prefix in PREFIXES if names and all(name.startswith(prefix) for name in names)), "")
        if not prefix:
            return plain
        plain = {name.removeprefix(prefix): plain[name] for name in names}
    return plain


def kind(value: Any) -> str:  # noqa: ANN401
    """Describe what kind of thing a value is, with an article."""
    if isinstance(value, Tensor):
        return f"a {value.layout} tensor on {value.device}"
    if isinstance(value, StoredTensor):
        return "a tensor without a name"
    if isinstance(value, OtherTensor):
        return value.kind
    function = value.function if isinstance(value, Described) else value
    return f"a {function.path}" if isinstance(function, Name) else f"a {type(value).__name__}"


def listed(names: Collection[str]) -> str:
    """Return the first few names from a file, in one line of bounded length."""
    first = [shown(name) for name in list(names)[:LISTED]]
    return ", ".join(first) + (f" and {len(names) - LISTED} more" if len(names) > LISTED else "")


def shown(name: object) -> str:
    """Return a name from a file in one line of bounded length."""
    text = repr(name) if isinstance(name, str | int | float | bytes | None) else "a key that is no text"
    return text if len(text) <= SHOWN_LETTERS else f"{text[:SHOWN_LETTERS]}…"


def _preferred(holders: list[str], *, beside_tensors: bool) -> str:
    """Return the key of the weights to take.

    Args:
        holders: keys under which there are tensors.
        beside_tensors: whether there are tensors beside these keys, so that an unusual key may not be the weights.
    """
    eligible = [name for name in holders if not OTHERS.search(name)]
    averaged = [name for name in eligible if AVERAGED.search(name)]
    usual = [name for name in eligible if USUAL.match(name)]
    candidates = averaged or (usual if beside_tensors else eligible)
    if len(candidates) != 1:
        names = eligible or holders
        raise SelectionError(f"it holds several, under {listed(names)}", names)
    return candidates[0]


def _leads_to_tensors(value: Any) -> bool:  # noqa: ANN401
    """Return whether a value is a map to tensors, or a map to such maps."""
    if not isinstance(value, Mapping):
        return False
    return _has_tensors(value) or any(isinstance(item, Mapping) and _has_tensors(item) for item in value.values())


def _has_tensors(content: Mapping[Any, Any]) -> bool:
    return any(isinstance(item, TENSORS) for item in content.values())
