"""Maps of the features trained on images of all classes of the generator, whichever classes an audit has.

Every process trains what it needs once; see :class:`~workflows.lab.memo.Memo`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from cawa_core.numerics.seeds import SHARED_CLASS, random_generator
from cawa_core.semantics.agreement import LabelCounts
from cawa_core.semantics.closed_form import CLOSED_FORMS, FEW_PENALTY, NormalEquations
from cawa_core.semantics.extractors import (
    ConvolutionalExtractor,
    Extractor,
    LinearExtractor,
    PerceptronExtractor,
    WeightedLinearExtractor,
)
from cawa_core.semantics.features import PerSite
from cawa_core.semantics.training import trained
from workflows.analyses.semantics import SemanticOptions
from workflows.analyses.semantics.closed_forms import ClosedForms, LabelledFeatures
from workflows.lab import Lab

IMAGES_PER_STEP = 8
LEARNING_RATES = {"lse": 0.03, "nse1": 0.01, "nse2": 0.003}
"""Steps of Adam, for features in units of their own size; the paper takes 0.001, and more steps."""
FEW_SHOT_STEPS = 150
"""Steps by which LSE is trained on all annotated images at once."""
MOST_TRANSFERRED = 32
"""Classes that maps of single classes are trained on; of more classes, as many evenly spaced ones."""
FIRST_STEP, FIRST_ANNOTATED, FIRST_OF_A_CLASS = 10**6, 2 * 10**6, 3 * 10**6
"""Indices of the first latents of the steps, of the annotated images, and of the single classes: no two samples share
a latent."""


class Trainer(ClosedForms):
    """Trains maps of the features of a lab's generator on labels of its segmenter.

    Args:
        lab: generator and segmenter.
        options: options of the analysis.
    """

    def __init__(self, lab: Lab, options: SemanticOptions) -> None:
        super().__init__(lab, options)
        self.options: SemanticOptions = options

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

    def by_gradient(self, *methods: str) -> dict[str, Extractor]:
        """Train maps on new images at each step, which they share; a map is the same whichever others are trained."""

        def train() -> dict[str, Extractor]:
            steps = self.options.semantics_steps
            rates = [LEARNING_RATES[method] for method in methods]
            final = trained([self._initial(method) for method in methods], self._batches(steps), steps, rates)
            folded = (each.folded() if isinstance(each, WeightedLinearExtractor) else each for each in final)
            return dict(zip(methods, folded, strict=True))

        return self.lab.memo.once(("trained by gradient", methods, self.key), train)

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
            (final,) = trained([extractor], batches, FEW_SHOT_STEPS, [LEARNING_RATES[method]])
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
