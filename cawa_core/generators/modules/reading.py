"""Reading of sites' gains and offsets in forward passes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from cawa_core.generators.modules.hooks import Call, Hook, Reached, hooked
from cawa_core.generators.modules.images import Images
from cawa_core.generators.modules.modulation import Pair, Read
from cawa_core.generators.modules.statistics import Statistics, gains_and_offsets, mean_and_deviation


def modulation_reader(
    images: Images, sites: Mapping[str, nn.Module], statistics: Statistics | None, batch_size: int
) -> Read:
    """Return a function that reads the sites, given by name in forward order; each pass ends at the last site."""

    def read(z: Tensor, class_ids: Tensor) -> list[Pair]:
        batches = []
        for z_batch, class_batch in zip(z.split(batch_size), class_ids.split(batch_size), strict=True):
            calls = _calls(images, sites, z_batch, class_batch)
            batches.append(
                [gains_and_offsets(call, *mean_and_deviation(name, call, statistics)) for name, call in calls.items()]
            )
        return [
            (torch.cat([gain for gain, _ in site_pairs]), torch.cat([offset for _, offset in site_pairs]))
            for site_pairs in zip(*batches, strict=True)
        ]

    return read


def _calls(images: Images, sites: Mapping[str, nn.Module], z: Tensor, class_ids: Tensor) -> dict[str, Call]:
    calls: dict[str, Call] = {}

    def recorder(name: str) -> Hook:
        def record(module: nn.Module, args: Any, kwargs: Any, output: Tensor) -> None:  # noqa: ANN401
            call = Call.record(module, args, kwargs, output)
            assert call is not None
            calls[name] = call
            if len(calls) == len(sites):
                raise Reached

        return record

    with hooked([(module, recorder(name)) for name, module in sites.items()]):
        images(z, class_ids)
    return calls
