"""Maps of the features trained on images of all classes of the generator, whichever classes an audit has.

Every process trains what it needs once; see :class:`~workflows.lab.memo.Memo`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from cawa_core.generators.base import spread_classes
from cawa_core.interventions import run_with_features
from cawa_core.numerics.seeds import SHARED_CLASS, random_generator
from cawa_core.semantics.agreement import LabelCounts
from cawa_core.semantics.categories import categories_of, category_maps_of
from cawa_core.semantics.closed_form import CLOSED_FORMS, FEW_PENALTY, NormalEquations, linear_extractor
from cawa_core.semantics.extractors import (
    ConvolutionalExtractor,
    Extractor,
    LinearExtractor,
    PerceptronExtractor,
    WeightedLinearExtractor,
)
from cawa_core.semantics.features import PerSite, default_sites, images_per_block
from cawa_core.semantics.sums import FeatureSums, channel_scales
from cawa_core.semantics.training import trained
from cawa_core.tables.schema import ALL_SITES
from workflows.analyses.semantics import SemanticOptions
from workflows.lab import Lab

IMAGES_PER_STEP = 8
LEARNING_RATES = {"lse": 0.03, "nse1": 0.01, "nse2": 0.003}
"""Steps of Adam, for features in units of their own size; the paper takes 0.001, and more steps."""
FEW_SHOT_STEPS = 150
"""Steps by which LSE is trained on all annotated images at once."""
SCALED_IMAGES = 64
"""Images of the sample from which the sizes of channels are measured."""
MOST_TRANSFERRED = 32
"""Classes that maps of single classes are trained on; of more classes, as many evenly spaced ones."""
FIRST_STEP, FIRST_ANNOTATED, FIRST_OF_A_CLASS = 10**6, 2 * 10**6, 3 * 10**6
"""Indices of the first latents of the steps, of the annotated images, and of the single classes: no two samples share
a latent."""


@dataclasses.dataclass(frozen=True)
class LabelledFeatures:
    """Features of some images, and what each of their pixels shows.

    Attributes:
        features: ``[n, C, H, W]`` by site.
        maps: categories, int64 ``[n, S, S]``.
    """

    features: PerSite
    maps: Tensor


class Trainer:
    """Trains maps of the features of a lab's generator on labels of its segmenter.

    Args:
        lab: generator and segmenter.
        options: options of the analysis.
    """

    def __init__(self, lab: Lab, options: SemanticOptions) -> None:
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

    @torch.inference_mode()
    def counts(self, extractor: Extractor, labelled: LabelledFeatures) -> LabelCounts:
        """Count the pixels of each category as a map of the features predicts them, and as they are."""
        features = [labelled.features[self.sites.index(site)] for site in extractor.sites]
        return LabelCounts.of(extractor(features).argmax(dim=1), labelled.maps, len(self.categories))

    def images_of(self, class_id: int, most: int) -> Iterator[LabelledFeatures]:
        """Yield the first images of a class in the sample, one by one."""
        z, class_ids = self._sample(range(self.options.semantics_training_latents))
        for place in (class_ids == class_id).nonzero().flatten().tolist()[:most]:
            yield self.labelled(z[place : place + 1], class_ids[place : place + 1])

    def by_gradient(self, method: str) -> Extractor:
        """Train a map on new images at each step."""

        def train() -> Extractor:
            steps = self.options.semantics_steps
            extractor = self._initial(method)
            final = trained(extractor, self._batches(steps), steps, LEARNING_RATES[method])
            return final.folded() if isinstance(final, WeightedLinearExtractor) else final

        return self.lab.memo.once(("trained by gradient", method, self.key), train)

    def few_shot(self, method: str, n_annotated: int, repeat: int) -> LinearExtractor:
        """Train a linear map on a few annotated images."""

        def train() -> LinearExtractor:
            labelled = self._annotated(n_annotated, repeat)
            if method in CLOSED_FORMS:
                sums = self._none()
                sums.add(labelled.features, labelled.maps)
                return self._extractor(method, NormalEquations.of(sums, FEW_PENALTY), range(len(self.sites)))
            extractor = self._initial(method, weighted=False)
            batches = ((labelled.features, labelled.maps) for _ in range(FEW_SHOT_STEPS))
            final = trained(extractor, batches, FEW_SHOT_STEPS, LEARNING_RATES[method])
            assert isinstance(final, WeightedLinearExtractor)
            return final.folded()

        return self.lab.memo.once(("few annotated images", method, n_annotated, repeat, self.key), train)

    def of_class(self, class_id: int) -> LinearExtractor:
        """Solve the linear discriminant of images of one class."""

        def solve() -> LinearExtractor:
            count = self.options.semantics_transfer_latents
            first = FIRST_OF_A_CLASS
            z = self.lab.generator.sample_latents(self.lab.spec.seed, class_id, range(first, first + count))
            sums = self._sums_of(z, torch.full((count,), class_id, device=z.device))
            return self._extractor("lda", NormalEquations.of(sums, FEW_PENALTY), range(len(self.sites)))

        return self.lab.memo.once(("discriminant of a class", class_id, self.key), solve)

    @property
    def transferred(self) -> Sequence[int]:
        """Classes that maps of single classes are trained on; they do not depend on those of the audit."""
        n_classes = self.lab.generator.n_classes
        number = min(n_classes, MOST_TRANSFERRED) if self.options.semantics_transfer_latents else 0
        return [place * n_classes // number for place in range(number)]

    def _sample(self, indices: range) -> tuple[Tensor, Tensor]:
        """Return the first latents that all classes share, and their classes."""
        generator = self.lab.generator
        z = generator.sample_latents(self.lab.spec.seed, SHARED_CLASS, indices)
        spread = spread_classes(self.options.semantics_training_latents, generator.n_classes, z.device)
        return z, spread[: len(indices)]

    def _batches(self, steps: int) -> Iterator[tuple[PerSite, Tensor]]:
        """Yield features and categories of new images of random classes."""
        random = random_generator(self.lab.spec.seed, SHARED_CLASS, 0, "classes of the steps")
        classes = random.integers(self.lab.generator.n_classes, size=(steps, IMAGES_PER_STEP))
        for step in range(steps):
            first = FIRST_STEP + step * IMAGES_PER_STEP
            indices = range(first, first + IMAGES_PER_STEP)
            z = self.lab.generator.sample_latents(self.lab.spec.seed, SHARED_CLASS, indices)
            labelled = self.labelled(z, torch.from_numpy(classes[step]).to(z.device))
            yield labelled.features, labelled.maps

    def _annotated(self, count: int, repeat: int) -> LabelledFeatures:
        """Return the first annotated images of a repeat, of random classes."""
        random = random_generator(self.lab.spec.seed, SHARED_CLASS, repeat, "annotated classes")
        most = max(self.options.semantics_annotated)
        classes = random.integers(self.lab.generator.n_classes, size=most)[:count]
        first = FIRST_ANNOTATED + repeat * most
        z = self.lab.generator.sample_latents(self.lab.spec.seed, SHARED_CLASS, range(first, first + count))
        return self.labelled(z, torch.from_numpy(classes).to(z.device))

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

    def _initial(self, method: str, *, weighted: bool = True) -> Extractor:
        """Return a map with initial weights, which depend on nothing but the seed."""
        size = self.lab.generator.image_size
        device = self.lab.generator.device
        with torch.inference_mode(False), torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.lab.spec.seed)
            scales = [scale.clone() for scale in self.scales]
            arguments = (self.sites, size, scales, len(self.categories))
            if method == "lse":
                extractor: Extractor = WeightedLinearExtractor(*arguments, weighted=weighted)
            else:
                extractor = (PerceptronExtractor if method == "nse1" else ConvolutionalExtractor)(*arguments)
        return extractor.to(device)
