"""Architecture of an original BigGAN, inferred from the tensors of its checkpoint.

Checkpoints are those of https://github.com/ajbrock/BigGAN-PyTorch at commit 9845943; the architecture is
that of Brock et al. 2019 (arXiv 1809.11096, Appendix B).
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterable, Mapping
from typing import TypedDict

from torch import Tensor

from cawa_core.errors import InputError

WIDTHS = {
    3: (4, 4, 4, 4),
    4: (16, 16, 8, 4, 2),
    5: (16, 16, 8, 4, 2, 1),
    6: (16, 16, 8, 8, 4, 2, 1),
    7: (16, 16, 8, 8, 4, 2, 1, 1),
}
"""Channels before, between and after the blocks, in units of ch, by the number of blocks."""

BATCH_NORMS = {
    "plain": ("stored_mean", "stored_var"),
    "mybn": ("bn.stored_mean", "bn.stored_var"),
    "cross-replica": ("bn.running_mean", "bn.running_var"),
}
"""Names of mean and variance by the kind of batch norm."""


@dataclasses.dataclass(frozen=True)
class BigGANArchitecture:
    """Architecture of the network, as far as the tensors of a checkpoint determine it.

    Attributes:
        ch: width multiplier.
        n_blocks: number of residual blocks, each doubling the resolution.
        bottom_width: side of the first feature map.
        n_classes: number of classes.
        shared_dim: size of the shared class embedding; None if each site has its own gains and offsets per class,
            which then do not depend on the latents.
        z_dim: size of the latent code.
        hierarchical: whether each block gets its own chunk of the latents; otherwise only the first layer gets any.
        attention_blocks: blocks followed by self-attention.
        batch_norm: kind of batch norm, a key of :data:`BATCH_NORMS`.
        n_singular_values: singular values tracked by each spectral norm; 0 if there is no spectral norm.
    """

    ch: int
    n_blocks: int
    bottom_width: int
    n_classes: int
    shared_dim: int | None
    z_dim: int
    hierarchical: bool
    attention_blocks: tuple[int, ...]
    batch_norm: str
    n_singular_values: int

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels before, between and after the blocks."""
        return tuple(self.ch * width for width in WIDTHS[self.n_blocks])

    @property
    def image_size(self) -> int:
        """Side of the image in pixels."""
        return self.resolution_after(self.n_blocks - 1)

    @property
    def chunk_size(self) -> int:
        """Number of latents that the first layer gets."""
        return self.z_dim // (self.n_blocks + 1) if self.hierarchical else self.z_dim

    @property
    def embed_dim(self) -> int:
        """Size of a class's vector: its shared embedding or a one-hot vector."""
        return self.n_classes if self.shared_dim is None else self.shared_dim

    @property
    def condition_dim(self) -> int:
        """Size of the condition that determines a site's gains and offsets."""
        return self.embed_dim + (self.chunk_size if self.hierarchical else 0)

    def resolution_after(self, block: int) -> int:
        """Return the side of the feature map after a block; block -1 means the first map."""
        return int(self.bottom_width * 2 ** (block + 1))

    def latents_of(self, block: int) -> slice:
        """Return the latents that a block's sites get; the first chunk belongs to the first layer."""
        start = (block + 1) * self.chunk_size
        return slice(start, start + self.chunk_size) if self.hierarchical else slice(0, 0)

    def describe(self) -> str:
        """Describe the architecture in one line."""
        chunks = f" in {self.n_blocks + 1} chunks of {self.chunk_size}" if self.hierarchical else " at the first layer"
        embedding = "no shared embedding" if self.shared_dim is None else f"shared embedding {self.shared_dim}"
        sides = " and ".join(str(self.resolution_after(block)) for block in self.attention_blocks)
        values = f" ({self.n_singular_values} singular values)" if self.n_singular_values > 1 else ""
        return ", ".join(
            [
                f"BigGAN {self.image_size} px",
                f"ch {self.ch}",
                f"{self.n_classes} classes",
                f"z {self.z_dim}{chunks}",
                embedding,
                f"attention at {sides} px" if sides else "no attention",
                f"{self.batch_norm} batch norm",
                f"spectral norm{values}" if self.n_singular_values else "no spectral norm",
            ]
        )


def infer_architecture(tensors: Mapping[str, Tensor], source: str) -> BigGANArchitecture:
    """Infer the architecture of a checkpoint from the few tensors that determine it.

    Args:
        tensors: values by name, without a common prefix.
        source: source of the tensors, for errors.

    Raises:
        InputError: a tensor that determines the architecture is missing or misshapen, or belongs to another model.
    """
    n_blocks = _number_of_blocks(tensors, source)
    ch, odd = divmod(shape_of(tensors, "output_layer.2.weight", 4, source)[1], WIDTHS[n_blocks][-1])
    area, uneven = divmod(shape_of(tensors, "linear.weight", 2, source)[0], ch * WIDTHS[n_blocks][0] or 1)
    if odd or not ch or uneven or math.isqrt(area) ** 2 != area:
        raise InputError(
            f"{source} must have {n_blocks} blocks of {WIDTHS[n_blocks]} times ch channels; "
            f"'linear.weight' {list(tensors['linear.weight'].shape)} and "
            f"'output_layer.2.weight' {list(tensors['output_layer.2.weight'].shape)} do not fit any ch"
        )
    return BigGANArchitecture(
        ch=ch,
        n_blocks=n_blocks,
        bottom_width=math.isqrt(area),
        attention_blocks=attention_blocks(tensors),
        batch_norm=kind_of_batch_norm(tensors, source),
        n_singular_values=1 + max(numbers_in(r".*\.u(\d+)$", tensors), default=-1),
        **_conditioning(tensors, n_blocks, source),
    )


class _Conditioning(TypedDict):
    n_classes: int
    shared_dim: int | None
    z_dim: int
    hierarchical: bool


def _conditioning(tensors: Mapping[str, Tensor], n_blocks: int, source: str) -> _Conditioning:
    latents = shape_of(tensors, "linear.weight", 2, source)[1]
    rows, columns = shape_of(tensors, "blocks.0.0.bn1.gain.weight", 2, source)
    if "shared.weight" not in tensors:
        return {"n_classes": rows, "shared_dim": None, "z_dim": latents, "hierarchical": False}
    n_classes, shared_dim = shape_of(tensors, "shared.weight", 2, source)
    if columns not in (shared_dim, shared_dim + latents):
        raise InputError(
            f"{source}: 'blocks.0.0.bn1.gain.weight' must have {shared_dim} columns (the embedding), or "
            f"{shared_dim + latents} (and a chunk of the latents); got {columns}"
        )
    hierarchical = columns > shared_dim
    z_dim = latents * (n_blocks + 1) if hierarchical else latents
    return {"n_classes": n_classes, "shared_dim": shared_dim, "z_dim": z_dim, "hierarchical": hierarchical}


def _number_of_blocks(tensors: Mapping[str, Tensor], source: str) -> int:
    n_blocks = 1 + max(numbers_in(r"blocks\.(\d+)\.0\.conv1\.weight$", tensors), default=-1)
    if n_blocks not in WIDTHS:
        raise InputError(
            f"{source} must hold the generator of a BigGAN, with {min(WIDTHS)} to {max(WIDTHS)} tensors "
            f"'blocks.N.0.conv1.weight'; got {n_blocks}: give the G_ema or G file of a training run"
        )
    return n_blocks


def attention_blocks(tensors: Mapping[str, Tensor]) -> tuple[int, ...]:
    """Return the blocks that are followed by self-attention."""
    return tuple(sorted(set(numbers_in(r"blocks\.(\d+)\.1\.", tensors))))


def kind_of_batch_norm(tensors: Mapping[str, Tensor], source: str) -> str:
    """Return the kind of the batch norms, a key of :data:`BATCH_NORMS`.

    Raises:
        InputError: they have no stored statistics.
    """
    for kind, (mean, _) in BATCH_NORMS.items():
        if f"blocks.0.0.bn1.{mean}" in tensors:
            return kind
    raise InputError(
        f"{source}: 'blocks.0.0.bn1' must be a batch norm with stored statistics; "
        f"the file has none there, as with --norm_style gn or nonorm: such models cannot be audited"
    )


def numbers_in(pattern: str, names: Iterable[str]) -> list[int]:
    """Return the numbers, of at most four digits, that the first group of a pattern finds in names."""
    matches = map(re.compile(pattern.replace(r"\d+", r"\d{1,4}")).match, names)
    return [int(match[1]) for match in matches if match]


def shape_of(tensors: Mapping[str, Tensor], name: str, dimensions: int, source: str) -> tuple[int, ...]:
    """Return the shape of a tensor that must have this many dimensions, and values.

    Raises:
        InputError: it is missing or has another shape.
    """
    if name not in tensors:
        raise InputError(f"{source}: tensor {name!r} is missing; give the G_ema or G file of a training run")
    shape = tuple(tensors[name].shape)
    if len(shape) != dimensions or 0 in shape:
        raise InputError(
            f"{source}: tensor {name!r} must have {dimensions} dimensions, none of them 0; got the shape {list(shape)}"
        )
    return shape
