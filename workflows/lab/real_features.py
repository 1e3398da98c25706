"""Features of a class's real images: computed once, and cached on disk for every audit."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from cawa_core import SCHEMA_VERSION
from cawa_core.evaluators import EVALUATORS
from cawa_core.evaluators.base import FeatureExtractor
from cawa_core.numerics.transfers import Download, in_order, to_device
from workflows.lab.real_check import require_readable

if TYPE_CHECKING:
    from workflows.lab.lab import Lab

FEATURES = "features"
UNREADABLE = "unreadable"


def real_features(lab: Lab, class_id: int, roles: Iterable[str]) -> tuple[dict[str, Tensor], list[str]]:
    """Return the features of all real images of a class by the networks of some roles.

    Each network has its own cache file, so that audits that differ in their other networks can share it.

    Args:
        lab: lab with real images.
        class_id: class of the images.
        roles: roles in ``lab.networks``.

    Returns:
        Features by role, float32 ``[n, d]`` on the CPU, and the names of files that cannot be decoded.

    Raises:
        InputError: more than ``maximum_unreadable`` of the files cannot be decoded.
    """
    networks = {lab.networks[role]: role for role in roles}
    entries = {
        network: entry
        for network, role in networks.items()
        if _is_cacheable(lab, role) and (entry := lab.feature_cache.kept(_key(lab, class_id, role))) is not None
    }
    missing = [network for network in networks if network not in entries]
    for network, entry in _extract(lab, class_id, missing).items() if missing else ():
        entries[network] = entry
        if _is_cacheable(lab, networks[network]):
            lab.feature_cache.keep(_key(lab, class_id, networks[network]), entry)
    unreadable: list[str] = json.loads(bytes(next(iter(entries.values()))[UNREADABLE].tolist()))
    require_readable(lab, class_id, unreadable)
    return {role: entries[lab.networks[role]][FEATURES] for role in roles}, unreadable


@torch.inference_mode()
def _extract(lab: Lab, class_id: int, networks: list[FeatureExtractor]) -> dict[FeatureExtractor, dict[str, Tensor]]:
    """Compute the cache entry of each network; the images are read once for all of them."""
    by_number = {str(place): network for place, network in enumerate(networks)}

    def downloads() -> Iterator[Download]:
        for images in lab.real_images.batches_of(class_id, lab.batch_size):
            on_device = to_device(images, lab.generator.device)
            yield Download.begin({place: network.features(on_device).float() for place, network in by_number.items()})

    batches = list(in_order(downloads()))
    names = json.dumps(lab.real_images.unreadable_of(class_id))  # ASCII, whatever characters the names contain
    unreadable = torch.tensor(list(names.encode()), dtype=torch.uint8)
    return {
        network: {FEATURES: torch.cat([batch[place] for batch in batches]), UNREADABLE: unreadable}
        for place, network in by_number.items()
    }


def _is_cacheable(lab: Lab, role: str) -> bool:
    """Return whether a digest identifies the network of a role; code outside this project has no digest."""
    return not EVALUATORS.is_foreign(getattr(lab.spec, role) or lab.spec.evaluator)


def _key(lab: Lab, class_id: int, role: str) -> dict[str, str | int]:
    """Return everything that determines a network's features of a class's real images."""
    network = lab.networks[role]
    return {
        "network": f"{network.digest} {network.protocol}",
        "images": lab.real_images.class_digest(class_id),
        "class_id": class_id,
        "schema_version": SCHEMA_VERSION,
        "dtype": lab.arithmetic_name,
        "device": lab.generator.device.type,
    }
