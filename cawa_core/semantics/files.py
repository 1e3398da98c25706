"""Trained linear extractors as files: safetensors whose metadata name the generator, the labels and the categories."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from cawa_core.errors import InputError, bounded, first_line
from cawa_core.generators.base import Generator
from cawa_core.semantics.extractors import LinearExtractor

FORMAT = "cawa extractor 1"
"""Name of the entry of the metadata."""
TEXTS = ("method", "generator", "generator_digest", "labels", "labels_digest")
"""Fields of a file that are written as they are."""


@dataclasses.dataclass(frozen=True)
class ExtractorFile:
    """A linear extractor and what it was trained on.

    Attributes:
        extractor: the extractor.
        categories: names of the categories, ``nothing`` first.
        method: how it was trained.
        generator: name of the generator whose features it reads.
        generator_digest: SHA-256 of the generator's weights.
        labels: name of the source of the labels.
        labels_digest: digest of that source.
    """

    extractor: LinearExtractor
    categories: tuple[str, ...]
    method: str
    generator: str
    generator_digest: str
    labels: str
    labels_digest: str

    def content(self) -> bytes:
        """Return the content of the file."""
        tensors = {f"map{place}": each.detach() for place, each in enumerate(self.extractor.maps)}
        tensors["constant"] = self.extractor.constant.detach()
        copies = {name: each.to("cpu", copy=True).contiguous() for name, each in tensors.items()}
        described = {name: getattr(self, name) for name in TEXTS} | {
            "categories": self.categories,
            "sites": self.extractor.sites,
            "side": self.extractor.side,
        }
        # A single entry, since the writer puts several ones into any order.
        return save(copies, {FORMAT: json.dumps(described, sort_keys=True)})


def read_extractor(path: str, content: bytes, generator: Generator) -> ExtractorFile:
    """Read an extractor of a generator, on its device.

    Args:
        path: name of the file, for errors.
        content: its content.
        generator: generator whose features it must read.

    Raises:
        InputError: the file is damaged, is no extractor, or is that of another generator; one line.
    """
    try:
        tensors = load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    except Exception as error:  # the reader of the format can raise anything when given arbitrary bytes
        raise InputError(f"{path} is truncated, damaged or not a safetensors file ({first_line(error)})") from None
    metadata = header.get("__metadata__") or {}
    if FORMAT not in metadata:
        raise InputError(f"{path} is not an extractor; `cawa semantics` and audits with the stage semantics write them")
    try:
        described = json.loads(metadata[FORMAT])
        name, digest = str(described["generator"]), str(described["generator_digest"])
        if digest == generator.digest:
            return _parsed(described, tensors, generator)
    except (KeyError, ValueError, TypeError, IndexError, RecursionError) as error:
        raise InputError(f"{path} is a damaged extractor ({first_line(error)}); train it again") from None
    other = f"{bounded(name, quoted=False)} with weights {bounded(digest[:12], quoted=False)}…"
    raise InputError(
        f"{path} reads features of {other}; got {generator.name} with weights {generator.digest[:12]}…: give the "
        "generator that it was trained on, or train another"
    )


def _parsed(described: Mapping[str, Any], tensors: Mapping[str, Tensor], generator: Generator) -> ExtractorFile:
    sites = tuple(int(site) for site in described["sites"])
    categories = tuple(str(name) for name in described["categories"])
    maps = [tensors[f"map{place}"] for place in range(len(sites))]
    expected = [[len(categories), generator.sites[site].channels] for site in sites]
    if [list(each.shape) for each in maps] != expected or list(tensors["constant"].shape) != [len(categories)]:
        raise ValueError("its matrices do not have the sizes of its sites and categories")
    if int(described["side"]) != generator.image_size or not all(bool(each.isfinite().all()) for each in maps):
        raise ValueError("it has another size, or numbers that are not finite")
    with torch.inference_mode(False):
        extractor = LinearExtractor(sites, generator.image_size, maps, tensors["constant"])
    placed = extractor.to(generator.device).eval().requires_grad_(False)
    return ExtractorFile(placed, categories, *(str(described[name]) for name in TEXTS))
