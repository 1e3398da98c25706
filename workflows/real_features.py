"""What networks see in a class's real images: looked at once, and kept on disk for every audit."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from cawa_core import SCHEMA_VERSION
from cawa_core.evaluators import EVALUATORS
from cawa_core.evaluators.base import FeatureExtractor
from cawa_core.transfers import Download, in_order, to_device
from workflows.workbench import Workbench

FEATURES, UNREADABLE = "features", "unreadable"


def real_features(bench: Workbench, class_id: int, roles: Iterable[str]) -> tuple[dict[str, Tensor], list[str]]:
    """Features of all real images of a class by the networks of some roles, and of no other network.

    Each network has its own file of the cache, so that audits with other networks beside it share it.

    Args:
        bench: with real images.
        class_id: whose images.
        roles: among those of ``bench.judges``.

    Returns:
        Features by role, float32 ``[n, d]`` on the CPU, and the names of files that are no whole picture.
    """
    networks = {bench.judges[role]: role for role in roles}
    found = {
        network: kept
        for network, role in networks.items()
        if _is_known(bench, role) and (kept := bench.feature_cache.kept(_key(bench, class_id, role))) is not None
    }
    absent = [network for network in networks if network not in found]
    for network, computed in _seen(bench, class_id, absent).items() if absent else ():
        found[network] = computed
        if _is_known(bench, networks[network]):
            bench.feature_cache.keep(_key(bench, class_id, networks[network]), computed)
    unreadable: list[str] = json.loads(bytes(next(iter(found.values()))[UNREADABLE].tolist()))
    return {role: found[bench.judges[role]][FEATURES] for role in roles}, unreadable


@torch.inference_mode()
def _seen(
    bench: Workbench, class_id: int, networks: list[FeatureExtractor]
) -> dict[FeatureExtractor, dict[str, Tensor]]:
    """What is kept of each network; the images are read once for all of them."""
    numbered = {str(place): network for place, network in enumerate(networks)}

    def downloads() -> Iterator[Download]:
        for images in bench.real_images.batches_of(class_id, bench.batch_size):
            on_device = to_device(images, bench.generator.device)
            yield Download.begin({place: one.features(on_device).float() for place, one in numbered.items()})

    arrived = list(in_order(downloads()))
    names = json.dumps(bench.real_images.unreadable_of(class_id))  # in ASCII, whatever is in a file's name
    unreadable = torch.tensor(list(names.encode()), dtype=torch.uint8)
    return {
        network: {FEATURES: torch.cat([batch[place] for batch in arrived]), UNREADABLE: unreadable}
        for place, network in numbered.items()
    }


def _is_known(bench: Workbench, role: str) -> bool:
    """Whether a digest tells the network of a role from others; of a user's own code none does."""
    return not EVALUATORS.is_foreign(getattr(bench.spec, role) or bench.spec.evaluator)


def _key(bench: Workbench, class_id: int, role: str) -> dict[str, str | int]:
    """All that enters what one network sees in a class's real images."""
    network = bench.judges[role]
    return {
        "network": f"{network.digest} {network.protocol}",
        "images": bench.real_images.class_digest(class_id),
        "class_id": class_id,
        "schema_version": SCHEMA_VERSION,
        "dtype": bench.arithmetic_name,
        "device": bench.generator.device.type,
    }
