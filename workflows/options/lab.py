"""Options of a lab: what its numbers are about, whichever analysis computes them."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field

from cawa_core.options import Fraction, Precision, option

SUBJECT = ("generator", "truncation", "truncation_statistics", "dtype", "compile", "seed")
"""Options that say, with the digest of the weights, what a folder is about: they never change in it."""
FEATURE_ROLES = ("evaluator", "fid_features", "manifold_features")
"""Roles of networks whose features or scores are used; the evaluator fills those that name nothing."""
ROLES = (*FEATURE_ROLES, "segmenter", "real_images")
"""Options that name networks and real images: each is fixed in a folder once an analysis has used it."""


@dataclasses.dataclass(frozen=True)
class ChannelOrderOptions:
    """The option on which the order of channels depends, at sites without a closed form of awareness."""

    awareness_samples: Annotated[int, Field(ge=2)] = option(10_000, "Latents per class for Monte Carlo awareness.")


@dataclasses.dataclass(frozen=True)
class LabSpec(ChannelOrderOptions):
    """Everything that changes a number of a lab, and nothing else.

    Field names are the option names of the command line and the keys of ``audit.toml``.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    generator: str = option(
        "fashion-biggan", "Generator: one listed by `cawa models`, or your own as package.module:factory."
    )
    truncation: Fraction = option(1.0, "Truncation of the latents in (0, 1]; 1 means none, as in the paper.")
    truncation_statistics: Literal["interpolated", "package"] = option(
        "interpolated",
        "How BigGAN-deep's batch norm statistics are computed between two recorded truncations: interpolated, or "
        "package, which reproduces pytorch-pretrained-biggan.",
    )
    dtype: Precision = option(
        "float32",
        "Arithmetic of the networks: float32; tf32 (CUDA only), which rounds the factors of products to ten bits; "
        "bfloat16 or float16 by autocast. Use float32 for numbers that you publish.",
    )
    compile: bool = option(
        False, "Compile the networks with torch.compile: slow to start, then faster on some devices."
    )
    evaluator: str = option(
        "fashion-cnn",
        "Classifier that scores images: one listed by `cawa models`, or your own as package.module:factory.",
    )
    fid_features: str = option("", "Network whose features FID and KID compare; by default the evaluator.")
    manifold_features: str = option(
        "", "Network whose features precision, recall, density, coverage and realism compare; by default the evaluator."
    )
    segmenter: str = option(
        "",
        "Segmenter that labels the pixels of generated images: one listed by `cawa models`, or your own as "
        "package.module:factory; by default the generator's, if it has one.",
    )
    real_images: str = option(
        "fashion-mnist-test",
        "Real images that generated ones are compared with: a set listed by `cawa models`, or a folder with one "
        "subfolder per class.",
    )
    classes: tuple[int | str, ...] = option(
        (), "Classes to audit, by index, name or WordNet id, separated by commas; by default all."
    )
    seed: Annotated[int, Field(ge=0)] = option(0, "Seed of all latents, random masks and permutations.")

    def as_data(self) -> dict[str, Any]:
        """Return plain JSON-serialisable data, one entry per field."""
        return json.loads(json.dumps(dataclasses.asdict(self)))  # type: ignore[no-any-return]
