"""The lab: models on their device and real images, as a worker, a command, a notebook and the explorer hold them."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cawa_core.awareness import Awareness, awareness_of_samples, closed_form_awareness, monte_carlo_awareness
from cawa_core.evaluators.base import Evaluator, FeatureExtractor
from cawa_core.generators.base import Generator, class_ids_of
from cawa_core.interventions import Change, run
from cawa_core.masking.engine import log_scores
from cawa_core.masking.groups import awareness_order
from cawa_core.numerics.arithmetic import arithmetic
from cawa_core.numerics.batch_size import BatchSize
from cawa_core.numerics.seeds import SHARED_CLASS
from cawa_core.real_images.base import RealImages
from cawa_core.real_images.feature_cache import FeatureCache
from cawa_core.segmenters.base import Segmenter
from workflows.lab import opening
from workflows.lab.memo import Memo
from workflows.lab.real_features import real_features
from workflows.options.lab import LabSpec
from workflows.options.run import RunOptions, recommended_spec

BATCH_VALUES = {"cpu": 2**22, "cuda": 2**28}
"""Values of a batch's largest feature map: 16 MB on a CPU, so that what a layer writes the next finds cached."""
LARGEST_BATCH = {"cpu": 256, "cuda": 2048}
"""A GPU is idle while it waits for the launches of a small generator: these serve more images at once."""


@dataclasses.dataclass(frozen=True)
class Lab:
    """Models on their device, real images, and what many analyses need of them; it knows no analysis.

    Open one with :meth:`open`, for example in a notebook::

        lab = Lab.open("fashion-biggan", needs=("evaluator",))
        images, scores = lab.images(3, lab.latents(3, 8))
        masked, lower = lab.images(3, lab.latents(3, 8), masks_at({0: (1, 5)}))

    Attributes:
        spec: what its numbers are about, with ``classes`` as indices.
        options: how it runs.
        generator: the generator.
        networks: networks that look at images, by role: ``evaluator``, ``fid_features``, ``manifold_features``.
        real_image_set: the real images, if they were needed.
        labeller: the segmenter, if it was needed.
        batch: images per forward pass; it shrinks when memory runs out.
        memo: values that are computed once and used again.
    """

    spec: LabSpec
    options: RunOptions
    generator: Generator
    networks: dict[str, FeatureExtractor]
    real_image_set: RealImages | None
    labeller: Segmenter | None
    batch: BatchSize
    memo: Memo = dataclasses.field(default_factory=Memo)

    @classmethod
    def open(
        cls,
        generator: str = LabSpec.generator,
        needs: Collection[str] = ("evaluator",),
        options: RunOptions | None = None,
        **values: Any,  # noqa: ANN401
    ) -> Lab:
        """Load a generator and what is needed beside it.

        Args:
            generator: name from ``cawa models``, or your own as ``package.module:factory``.
            needs: roles to fill: ``evaluator``, ``fid_features``, ``manifold_features``, ``segmenter``,
                ``real_images``.
            options: device, batch size, weights and cache.
            values: further fields of :class:`~workflows.options.lab.LabSpec`, such as ``evaluator`` or ``seed``.

        Raises:
            InputError: an unknown name or class, missing or damaged weights, or a device that is not there.
        """
        return cls.from_spec(recommended_spec({"generator": generator, **values}), options or RunOptions(), needs)

    @classmethod
    def from_spec(
        cls, spec: LabSpec, options: RunOptions, needs: Collection[str], *, once: bool = True, device: str = ""
    ) -> Lab:
        """Load what a spec names, with its classes made indices.

        Args:
            spec: what the numbers are about.
            options: how the lab runs.
            needs: roles to fill, as for :meth:`open`.
            once: refuse a class that is given twice; else it counts once.
            device: where the models go, if not to ``options.device``.

        Raises:
            InputError: an unknown name or class, missing or damaged weights, or a device that is not there.
        """
        opening.require_roles(spec, needs)
        target = opening.checked_device(device or options.device)
        generator = opening.open_generator(spec, options, target)
        exact = dataclasses.replace(spec, classes=generator.classes.resolve_all(spec.classes, once=once))
        real_image_set = opening.open_real_image_set(exact, options, generator) if "real_images" in needs else None
        networks = opening.open_networks(exact, options, needs, generator, target)
        labeller = opening.open_segmenter(exact, options, target) if "segmenter" in needs else None
        opening.prepare_kernels(spec, (generator, *networks.values()), target)
        largest = max(site.channels * site.resolution**2 for site in generator.sites)
        fitting = min(LARGEST_BATCH[target.type], BATCH_VALUES[target.type] // largest)
        batch = BatchSize(options.batch_size or max(1, fitting))
        return cls(exact, options, generator, networks, real_image_set, labeller, batch)

    @cached_property
    def class_ids(self) -> tuple[int, ...]:
        """The spec's classes as indices."""
        return self.generator.classes.resolve_all(self.spec.classes)

    @property
    def evaluator(self) -> Evaluator:
        """The classifier; present if it was needed."""
        return cast(Evaluator, self.networks["evaluator"])

    @property
    def real_images(self) -> RealImages:
        """The real images; present if they were needed."""
        assert self.real_image_set is not None
        return self.real_image_set

    @property
    def segmenter(self) -> Segmenter:
        """The segmenter; present if it was needed."""
        assert self.labeller is not None
        return self.labeller

    @property
    def batch_size(self) -> int:
        """Images per forward pass at present; fewer after an out-of-memory error."""
        return self.batch.images

    @property
    def score_protocol(self) -> str:
        """How scores are made: network, preprocessing, weights and arithmetic."""
        return f"{self.evaluator.protocol}; weights {self.evaluator.digest[:12]}; {self.arithmetic_name}"

    @property
    def arithmetic_name(self) -> str:
        """Name of the arithmetic that the networks compute in."""
        return f"{self.spec.dtype}, compiled" if self.spec.compile else self.spec.dtype

    def arithmetic(self) -> AbstractContextManager[object]:
        """Compute in the spec's ``dtype`` for what runs inside."""
        return arithmetic(self.spec.dtype, self.generator.device)

    @cached_property
    def is_affine(self) -> bool:
        """Whether gains and offsets are affine in the latents at every site, so that awareness has a closed form."""
        return all(self.generator.is_affine(site.index) for site in self.generator.sites)

    @cached_property
    def class_embeddings(self) -> Tensor:
        """Embeddings of all classes of the generator: ``[n_classes, embed_dim]``."""
        classes = torch.arange(self.generator.n_classes, device=self.generator.device)
        return self.generator.class_embedding(classes)

    def latents(self, class_id: int, count: int) -> Tensor:
        """Return the first latents of a class: ``[count, z_dim]``; every analysis sees the same ones."""
        return self.generator.sample_latents(self.spec.seed, class_id, range(count))

    @torch.inference_mode()
    def images(
        self, class_id: int, z: Tensor, interventions: Sequence[Change] = ()
    ) -> tuple[Tensor, NDArray[np.float64]]:
        """Generate images of a class under interventions, and score them.

        Args:
            class_id: class of the images; the score is the evaluator's probability of it.
            z: latents ``[n, z_dim]``.
            interventions: changes of features or of what sites are conditioned on, in any order of sites.

        Returns:
            Images ``[n, C, H, W]`` in [-1, 1] on the CPU, and scores ``[n]``.
        """
        images = []
        scores = []
        for rows in z.split(self.batch_size):
            batch = run(self.generator, rows, class_ids_of(class_id, rows), interventions)
            images.append(batch.cpu())
            scores.append(log_scores(self.evaluator, batch, class_id).exp().cpu())
        return torch.cat(images), torch.cat(scores).numpy()

    def class_awareness(self, class_ids: tuple[int, ...], site: int) -> Awareness:
        """Return a site's awareness for some classes, in closed form if there is one; it orders the channels."""
        if not self.generator.is_affine(site):  # thousands of passes: computed once for all analyses
            key = ("awareness of classes", class_ids, site, self.spec.seed, self.spec.awareness_samples)
            return self.memo.once(key, lambda: self.sampled_awareness(class_ids, site))
        modulation = self.generator.modulation(site).with_latent_scaled(self.generator.latent_deviation)
        return closed_form_awareness(modulation, self.class_embeddings[list(class_ids)])

    def sampled_awareness(self, class_ids: tuple[int, ...], site: int) -> Awareness:
        """Return a site's awareness for some classes from ``awareness_samples`` latents that all classes share."""
        z = self.generator.sample_latents(self.spec.seed, SHARED_CLASS, range(self.spec.awareness_samples))
        if self.generator.is_affine(site):
            return monte_carlo_awareness(self.generator.modulation(site), self.class_embeddings[list(class_ids)], z)
        by_class = [
            awareness_of_samples(*self.generator.gains_and_offsets(site, z, class_id)) for class_id in class_ids
        ]
        columns = [field.name for field in dataclasses.fields(Awareness)]
        return Awareness(**{name: np.concatenate([getattr(each, name) for each in by_class]) for name in columns})

    def channel_order(self, class_id: int, site: int) -> NDArray[np.int64]:
        """Return the channels of a site that reach the image, in ascending category awareness of the class."""
        awareness = self.class_awareness((class_id,), site).category_awareness[0]
        return awareness_order(awareness, self.generator.sites[site].inert_channels)

    def real_features(self, class_id: int, roles: Collection[str]) -> tuple[dict[str, Tensor], list[str]]:
        """Return the features of all real images of a class by the networks of some roles, computed once and cached.

        Returns:
            Features by role, float32 ``[n, d]`` on the CPU, and the names of files that cannot be decoded.
        """
        return real_features(self, class_id, roles)

    @cached_property
    def feature_cache(self) -> FeatureCache:
        """Features of real images on disk, for every audit that shows them to the same networks."""
        return FeatureCache(self.options.cache_folder / "features")
