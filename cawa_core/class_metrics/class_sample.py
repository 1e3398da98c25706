"""Samples that the metrics keep from a stream of one class's images; memory does not grow with the stream."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping

import torch
from torch import Tensor

from cawa_core.class_metrics.kernel import KERNEL_SAMPLES
from cawa_core.class_metrics.moments import Moments, MomentStream, moments_of


@dataclasses.dataclass(frozen=True)
class Kept:
    """Numbers of rows to keep, counted from the first image, for metrics that need single rows.

    Attributes:
        manifold_features: number of features for precision, recall, density and coverage.
        images: number of images for MS-SSIM.
        fid_features: number of features for KID; all later ones enter FID as moments.
    """

    manifold_features: int
    images: int
    fid_features: int = KERNEL_SAMPLES


@dataclasses.dataclass(frozen=True)
class ClassSample:
    """The part of one class's images that the metrics need; tensors are on the CPU.

    Attributes:
        class_id: the class.
        n_images: number of images n.
        predictions: number of images that the evaluator assigns to each class, without those that get none.
        centroid: mean of the evaluator's features, float64 ``[d]``.
        fid_features: features of the first images for FID and KID, ``[m <= n, d']``.
        later_fid_features: moments of the same features of all later images; None if there are none.
        manifold_features: features of the first images for precision, recall, density and coverage, ``[m', d'']``.
        images: the first images, for MS-SSIM, ``[m'', C, H, W]`` in [-1, 1].
    """

    class_id: int
    n_images: int
    predictions: Mapping[int, int]
    centroid: Tensor
    fid_features: Tensor
    later_fid_features: Moments | None
    manifold_features: Tensor
    images: Tensor

    @property
    def classifier_accuracy(self) -> float:
        """Share of images that the evaluator assigns to their class, in [0, 1]."""
        return self.predictions.get(self.class_id, 0) / self.n_images

    @property
    def fid_statistics(self) -> Tensor | Moments:
        """FID features of all images, or their moments if not all features are kept."""
        if self.later_fid_features is None:
            return self.fid_features
        return moments_of(self.fid_features).merge(self.later_fid_features)


class ClassSampler:
    """Collects a :class:`ClassSample` from batches of images and the networks' outputs for them."""

    def __init__(self, class_id: int, sizes: Kept, limit: int | None = None) -> None:
        """Prepare to keep ``sizes`` rows of the first ``limit`` images of a class; None means all images."""
        self._class_id = class_id
        self._limit = limit
        self._n_images = 0
        self._predictions: Counter[int] = Counter()
        self._feature_sum: Tensor | None = None
        self._fid = _FirstRows(sizes.fid_features)
        self._later_fid = MomentStream()
        self._manifold = _FirstRows(sizes.manifold_features)
        self._images = _FirstRows(sizes.images)

    def add(self, outputs: Mapping[str, Tensor], images: Tensor) -> None:
        """Add a batch.

        Args:
            outputs: features ``[n, d]`` under ``evaluator``, ``fid_features`` and ``manifold_features``; and under
                ``predicted`` the class that the evaluator assigns each image to, integers ``[n]``.
            images: the batch ``[n, C, H, W]``; may hold fewer images once enough are kept.
        """
        room = None if self._limit is None else self._limit - self._n_images
        outputs = {name: rows[:room] for name, rows in outputs.items()}
        self._n_images += len(outputs["predicted"])
        self._predictions.update(outputs["predicted"].tolist())
        total = outputs["evaluator"].sum(dim=0, dtype=torch.float64)
        self._feature_sum = total if self._feature_sum is None else self._feature_sum + total
        self._later_fid.add(self._fid.add(outputs["fid_features"]))
        self._manifold.add(outputs["manifold_features"])
        self._images.add(images[:room])

    def sample(self) -> ClassSample:
        """Return the sample of all batches added so far.

        Raises:
            ValueError: no image was added.
        """
        if self._feature_sum is None or not self._n_images:
            raise ValueError("a class sample must hold at least 1 image; got none")
        return ClassSample(
            class_id=self._class_id,
            n_images=self._n_images,
            predictions=dict(self._predictions),
            centroid=self._feature_sum / self._n_images,
            fid_features=self._fid.rows(),
            later_fid_features=self._later_fid.moments(),
            manifold_features=self._manifold.rows(),
            images=self._images.rows(),
        )


class _FirstRows:
    """The first rows of a sequence of tensors, in one block on the CPU."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._n = 0
        self._block: Tensor | None = None

    def add(self, rows: Tensor) -> Tensor:
        """Keep rows until the block is full; return the remaining rows."""
        if self._block is None:  # pages that are never written take no memory
            self._block = torch.empty(self._count, *rows.shape[1:], dtype=rows.dtype)
        first = rows[: self._count - self._n]
        self._block[self._n : self._n + len(first)] = first
        self._n += len(first)
        return rows[len(first) :]

    def rows(self) -> Tensor:
        """Return the rows kept so far; at least one tensor must have been added."""
        assert self._block is not None
        return self._block[: self._n]
