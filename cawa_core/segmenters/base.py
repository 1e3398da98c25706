"""Interface of segmenters, which say which concepts each pixel of an image shows."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from cawa_core.errors import InputError
from cawa_core.weights import WeightStore

NO_CONCEPT = -1
"""Label of a pixel that shows none of the concepts."""


@dataclasses.dataclass(frozen=True)
class SegmenterRequest:
    """Name of a segmenter and the source of its weights."""

    name: str
    weights: WeightStore = dataclasses.field(default_factory=WeightStore)

    def require_no_weights(self) -> None:
        """Check that no weights are given for a segmenter that brings its own, or needs none.

        Raises:
            InputError: weights were given.
        """
        if self.weights.is_given(self.name):
            raise InputError(f"weights: {self.name} needs no weights of yours; remove it from --weights")


class Segmenter(nn.Module, ABC):
    """A network or rule that labels pixels, including its preprocessing.

    Attributes:
        name: name in the registry.
        digest: SHA-256 of the weights; of a rule, any text that changes with it.
        protocol: preprocessing and rule in words; part of every result's identity.
        concepts: names of the concepts, all different.
    """

    name: str
    digest: str
    protocol: str
    concepts: tuple[str, ...]

    @abstractmethod
    def segment(self, images: Tensor) -> Tensor:
        """Label the pixels of images, float32 ``[n, C, H, W]`` in [-1, 1].

        Returns:
            Either label maps, integers ``[n, H, W]`` that index the concepts, :data:`NO_CONCEPT` elsewhere; or, where
            a pixel can show several concepts, bool ``[n, concepts, H, W]``.
        """

    @property
    def has_probabilities(self) -> bool:
        """Whether :meth:`probabilities` is implemented, which optimised sets of units need."""
        return type(self).probabilities is not Segmenter.probabilities

    def probabilities(self, images: Tensor) -> Tensor:  # noqa: ARG002
        """Return the probability of each concept at each pixel, ``[n, concepts, H, W]``, differentiable in the images.

        Raises:
            InputError: the segmenter has labels only.
        """
        raise InputError(f"segmenter {self.name} labels pixels without probabilities; it cannot optimise sets of units")


def concept_masks(segmenter: Segmenter, images: Tensor) -> Tensor:
    """Return where each concept is in images ``[n, C, S, S]``: bool ``[n, concepts, S, S]``.

    Raises:
        InputError: the segmenter returned neither label maps nor boolean stacks of the images' size, or a label that
            names no concept.
    """
    labels = _checked_labels(segmenter, images)
    if labels.dtype == torch.bool:
        return labels
    numbers = torch.arange(len(segmenter.concepts), device=labels.device)[:, None, None]
    return labels[:, None] == numbers


def label_maps(segmenter: Segmenter, images: Tensor) -> Tensor | None:
    """Return the concept of each pixel of images ``[n, C, S, S]``, or None if concepts can overlap.

    Returns:
        Integers ``[n, S, S]`` that index the concepts, :data:`NO_CONCEPT` elsewhere.

    Raises:
        InputError: as :func:`concept_masks`.
    """
    labels = _checked_labels(segmenter, images)
    return None if labels.dtype == torch.bool else labels


def _checked_labels(segmenter: Segmenter, images: Tensor) -> Tensor:
    """Label images, and check that there are label maps or boolean stacks; see :func:`concept_masks`."""
    n, _, *size = images.shape
    n_concepts = len(segmenter.concepts)
    labels = segmenter.segment(images)
    if labels.dtype == torch.bool and list(labels.shape) == [n, n_concepts, *size]:
        return labels
    is_whole = labels.dtype in (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
    if not is_whole or list(labels.shape) != [n, *size]:
        raise InputError(
            f"segmenter {segmenter.name} must return integer label maps {[n, *size]} or bool {[n, n_concepts, *size]}; "
            f"it returned {str(labels.dtype).removeprefix('torch.')} {list(labels.shape)}"
        )
    lowest, highest = (int(edge) for edge in labels.aminmax()) if labels.numel() else (0, 0)
    if not NO_CONCEPT <= lowest <= highest < n_concepts:
        raise InputError(
            f"labels of segmenter {segmenter.name} must be in {NO_CONCEPT}..{n_concepts - 1}, for its {n_concepts} "
            f"concepts; got {lowest if lowest < NO_CONCEPT else highest}"
        )
    return labels
