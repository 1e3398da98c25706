"""What the metrics keep of one class's images while these stream by: memory does not grow with their number."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import torch
from torch import Tensor

from cawa_core.class_metrics.kernel import KERNEL_SAMPLES
from cawa_core.class_metrics.moments import Moments, MomentStream, moments_of


@dataclasses.dataclass(frozen=True)
class Kept:
    """How many of the first images are kept whole, by what needs them so.

    Attributes:
        manifold_features: for precision, recall, density, coverage: as many fakes as reals.
        images: for MS-SSIM.
        fid_features: for KID; all later ones enter FID as moments.
    """

    manifold_features: int
    images: int
    fid_features: int = KERNEL_SAMPLES


@dataclasses.dataclass(frozen=True)
class ClassSample:
    """Images of one class as the metrics see them; tensors are on the CPU.

    Attributes:
        n_images: n.
        classifier_accuracy: share of them that the evaluator gives to their class.
        centroid: mean of the evaluator's features, float64 ``[d]``.
        fid_features: what FID and KID compare, of the first images, ``[m <= n, d']``.
        later_fid_features: moments of those of all other images; None where there are none.
        manifold_features: what precision, recall, density and coverage compare, of the first images, ``[m', d'']``.
        images: the first ones, whose pairs give MS-SSIM, ``[m'', C, H, W]`` in [-1, 1].
    """

    n_images: int
    classifier_accuracy: float
    centroid: Tensor
    fid_features: Tensor
    later_fid_features: Moments | None
    manifold_features: Tensor
    images: Tensor

    @property
    def fid_statistics(self) -> Tensor | Moments:
        """Of all images: their features, or the moments of these where not all are kept."""
        if self.later_fid_features is None:
            return self.fid_features
        return moments_of(self.fid_features).merged(self.later_fid_features)


class ClassSampler:
    """Takes a class's images by the batch, with what the networks see in them, and keeps a :class:`ClassSample`."""

    def __init__(self, kept: Kept, limit: int | None = None) -> None:
        """Take the first ``limit`` images alone; None: all."""
        self._limit = limit
        self._n_images = self._n_correct = 0
        self._feature_sum: Tensor | None = None
        self._fid, self._later_fid = _FirstRows(kept.fid_features), MomentStream()
        self._manifold, self._images = _FirstRows(kept.manifold_features), _FirstRows(kept.images)

    def add(self, seen: Mapping[str, Tensor], images: Tensor) -> None:
        """Take a batch.

        Args:
            seen: features by role, ``evaluator``, ``fid_features``, ``manifold_features``, each ``[n, d]``; and
                ``correct``: whether the evaluator gives each image to its class, bool ``[n]``.
            images: the batch ``[n, C, H, W]``, or of a class's last batches fewer, once enough are kept.
        """
        missing = None if self._limit is None else self._limit - self._n_images
        part = {role: rows[:missing] for role, rows in seen.items()}
        self._n_images += len(part["correct"])
        self._n_correct += int(part["correct"].sum())
        total = part["evaluator"].sum(dim=0, dtype=torch.float64)
        self._feature_sum = total if self._feature_sum is None else self._feature_sum + total
        self._later_fid.add(self._fid.add(part["fid_features"]))
        self._manifold.add(part["manifold_features"])
        self._images.add(images[:missing])

    def sample(self) -> ClassSample:
        """What was kept.

        Raises:
            ValueError: no image came.
        """
        if self._feature_sum is None or not self._n_images:
            raise ValueError("a class sample must hold images; none came")
        return ClassSample(
            n_images=self._n_images,
            classifier_accuracy=self._n_correct / self._n_images,
            centroid=self._feature_sum / self._n_images,
            fid_features=self._fid.rows(),
            later_fid_features=self._later_fid.moments(),
            manifold_features=self._manifold.rows(),
            images=self._images.rows(),
        )


class _FirstRows:
    """The first rows of tensors that arrive one after the other, in one block on the CPU."""

    def __init__(self, count: int) -> None:
        self._count, self._n = count, 0
        self._block: Tensor | None = None

    def add(self, rows: Tensor) -> Tensor:
        """Keep what is still missing; return the others."""
        if self._block is None:  # pages that stay empty take no memory
            self._block = torch.empty(self._count, *rows.shape[1:], dtype=rows.dtype)
        first = rows[: self._count - self._n]
        self._block[self._n : self._n + len(first)] = first
        self._n += len(first)
        return rows[len(first) :]

    def rows(self) -> Tensor:
        """What came; of at least one tensor."""
        assert self._block is not None
        return self._block[: self._n]
