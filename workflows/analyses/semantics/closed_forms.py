"""Maps of the features in closed form, from images of all classes of the generator, whichever an audit has.

Every process computes what it needs once; see :class:`~workflows.lab.memo.Memo`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from cawa_core.generators.base import spread_classes
from cawa_core.interventions import run_with_features
from cawa_core.numerics.seeds import SHARED_CLASS
from cawa_core.semantics.categories import categories_of, category_maps_of
from cawa_core.semantics.closed_form import CLOSED_FORMS, NormalEquations, linear_extractor
from cawa_core.semantics.extractors import LinearExtractor
from cawa_core.semantics.features import PerSite, default_sites, images_per_block
from cawa_core.semantics.sums import FeatureSums, channel_scales
from cawa_core.tables.schema import ALL_SITES
from workflows.analyses.semantics import FeatureMapOptions
from workflows.lab import Lab

SCALED_IMAGES = 64
"""Images of the sample from which the sizes of channels are measured."""


@dataclasses.dataclass(frozen=True)
class LabelledFeatures:
    """Features of some images, and what each of their pixels shows.

    Attributes:
        features: ``[n, C, H, W]`` by site.
        maps: categories, int64 ``[n, S, S]``.
    """

    features: PerSite
    maps: Tensor


class ClosedForms:
    """Solves maps of the features of a lab's generator for the labels of its segmenter.

    Args:
        lab: generator and segmenter.
        options: sites and images.
    """

    def __init__(self, lab: Lab, options: FeatureMapOptions) -> None:
        self.lab = lab
        self.options = options
        self.sites = tuple(sorted(options.semantics_sites)) or default_sites(lab.generator)
        self.block = images_per_block(lab.generator, self.sites)
        self.categories = categories_of(lab.segmenter.concepts)
        self.key = (lab.segmenter.digest, lab.spec.seed, options)

    def labelled(self, z: Tensor, class_ids: Tensor) -> LabelledFeatures:
        """Generate images, keep their features, and label their pixels."""
        with torch.inference_mode(False), torch.no_grad():  # extractors are trained on these features
            features, images = run_with_features(self.lab.generator, z, class_ids, self.sites)
            features = [each.float() for each in features]
            return LabelledFeatures(features, category_maps_of(self.lab.segmenter, images))

    @property
    def scales(self) -> PerSite:
        """Size of each channel, by site."""

        def measure() -> PerSite:
            sample = self._sample(range(min(SCALED_IMAGES, self.options.semantics_training_latents)))
            return channel_scales(block.features for block in self._blocks(*sample))

        return self.lab.memo.once(("sizes of channels", self.key), measure)

    @property
    def sums(self) -> FeatureSums:
        """Sums over all images of the sample."""

        def add_all() -> FeatureSums:
            return self._sums_of(*self._sample(range(self.options.semantics_training_latents)))

        return self.lab.memo.once(("sums over the sample", self.key), add_all)

    def closed_form(self, method: str) -> dict[int, LinearExtractor]:
        """Solve a map of all sites in closed form, and one of each site, by site."""

        def solve() -> dict[int, LinearExtractor]:
            equations = NormalEquations.of(self.sums)
            solved = {ALL_SITES: self._extractor(method, equations, range(len(self.sites)))}
            first = 0
            for place, scale in enumerate(self.scales):
                rows = torch.arange(first, first + len(scale), device=scale.device)
                solved[self.sites[place]] = self._extractor(method, equations.at(rows), [place])
                first += len(scale)
            return solved

        return self.lab.memo.once(("closed form", method, self.key), solve)

    def without(self, method: str, left_out: LabelledFeatures) -> LinearExtractor:
        """Solve the map of all images of the sample but one."""
        equations = self.lab.memo.once(("equations of the sample", self.key), lambda: NormalEquations.of(self.sums))
        sums = self._none()
        sums.add(left_out.features, left_out.maps)
        return self._extractor(method, equations.without(sums), range(len(self.sites)))

    def _sample(self, indices: range) -> tuple[Tensor, Tensor]:
        """Return the first latents that all classes share, and their classes."""
        generator = self.lab.generator
        z = generator.sample_latents(self.lab.spec.seed, SHARED_CLASS, indices)
        spread = spread_classes(self.options.semantics_training_latents, generator.n_classes, z.device)
        return z, spread[: len(indices)]

    def _none(self) -> FeatureSums:
        return FeatureSums.none(self.scales, self.lab.generator.image_size, len(self.categories))

    def _sums_of(self, z: Tensor, class_ids: Tensor) -> FeatureSums:
        sums = self._none()
        for block in self._blocks(z, class_ids):
            sums.add(block.features, block.maps)
        return sums

    def _blocks(self, z: Tensor, class_ids: Tensor) -> Iterator[LabelledFeatures]:
        for rows, ids in zip(z.split(self.block), class_ids.split(self.block), strict=True):
            yield self.labelled(rows, ids)

    def _extractor(self, method: str, equations: NormalEquations, places: Sequence[int]) -> LinearExtractor:
        with torch.inference_mode(False):
            weights = CLOSED_FORMS[method](equations)
            scales = [self.scales[place] for place in places]
            sites = [self.sites[place] for place in places]
            extractor = linear_extractor(weights, scales, sites, self.lab.generator.image_size)
        return extractor.eval().requires_grad_(False)
