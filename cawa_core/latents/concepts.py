"""Scores of images by concepts: a classifier's probability, areas of labels, measured attributes, a user's function."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from cawa_core.errors import InputError, bounded, first_line
from cawa_core.evaluators.base import Evaluator
from cawa_core.latents.attributes import (
    attribute_names,
    object_attributes,
    pixel_attribute_names,
    pixel_attributes,
)
from cawa_core.numerics.device_errors import is_machine_error
from cawa_core.segmenters.base import Segmenter, concept_masks

CLASS_CONCEPT = "class log-odds"


class ConceptScores(ABC):
    """Scores of images by some concepts.

    Attributes:
        concepts: names of the concepts, all different.
        with_gradients: whether :meth:`soft_scores` has each of them.
    """

    concepts: tuple[str, ...]
    with_gradients: tuple[bool, ...]

    @abstractmethod
    def scores(self, images: Tensor, class_ids: Tensor) -> Tensor:
        """Score images ``[n, C, S, S]`` in [-1, 1] that were generated for classes ``[n]``: ``[n, concepts]``."""

    def soft_scores(self, images: Tensor, class_ids: Tensor) -> Tensor:  # noqa: ARG002
        """Return scores ``[n, concepts]`` that are differentiable in the images, and rise and fall with the scores.

        Concepts without gradients are NaN.
        """
        return images.new_full((len(images), len(self.concepts)), torch.nan)


class ClassScores(ConceptScores):
    """Log-odds, by a classifier, of the class that an image was generated for; probabilities saturate at 1."""

    concepts = (CLASS_CONCEPT,)
    with_gradients = (True,)

    def __init__(self, evaluator: Evaluator) -> None:
        self.evaluator = evaluator

    def scores(self, images: Tensor, class_ids: Tensor) -> Tensor:
        """Return the log-odds ``[n, 1]``."""
        return self.soft_scores(images, class_ids)

    def soft_scores(self, images: Tensor, class_ids: Tensor) -> Tensor:
        """Return the same: the log-probability less that of all other classes together."""
        log_probabilities = self.evaluator.log_probabilities(images)
        is_class = torch.nn.functional.one_hot(class_ids, log_probabilities.shape[1]).bool()
        rest = log_probabilities.masked_fill(is_class, -torch.inf).logsumexp(dim=1, keepdim=True)
        return log_probabilities.gather(1, class_ids[:, None]) - rest


class AreaScores(ConceptScores):
    """Share of the pixels with each label of a segmenter."""

    def __init__(self, segmenter: Segmenter) -> None:
        self.segmenter = segmenter
        self.concepts = tuple(f"area of {label}" for label in segmenter.concepts)
        self.with_gradients = (segmenter.has_probabilities,) * len(self.concepts)

    def scores(self, images: Tensor, class_ids: Tensor) -> Tensor:  # noqa: ARG002
        """Return the shares ``[n, labels]``."""
        return concept_masks(self.segmenter, images).float().mean(dim=(2, 3))

    def soft_scores(self, images: Tensor, class_ids: Tensor) -> Tensor:
        """Return the mean probability of each label over the pixels."""
        if not self.segmenter.has_probabilities:
            return super().soft_scores(images, class_ids)
        return self.segmenter.probabilities(images).mean(dim=(2, 3))


class AttributeScores(ConceptScores):
    """Attributes measured on the pixels (:mod:`cawa_core.latents.attributes`)."""

    def __init__(self, image_channels: int) -> None:
        self.concepts = attribute_names(image_channels)
        n_soft = len(pixel_attribute_names(image_channels))
        self.with_gradients = tuple(place < n_soft for place in range(len(self.concepts)))

    def scores(self, images: Tensor, class_ids: Tensor) -> Tensor:  # noqa: ARG002
        """Return the attributes ``[n, attributes]``."""
        return torch.cat([pixel_attributes(images), object_attributes(images)], dim=1)

    def soft_scores(self, images: Tensor, class_ids: Tensor) -> Tensor:  # noqa: ARG002
        """Return the attributes of pixels; those of the object are NaN."""
        soft = pixel_attributes(images)
        missing = len(self.concepts) - soft.shape[1]
        return torch.cat([soft, soft.new_full((len(soft), missing), torch.nan)], dim=1)


class FunctionScores(ConceptScores):
    """Scores by a user's function of images ``[n, C, S, S]`` in [-1, 1], which returns ``[n]`` or ``[n, concepts]``.

    Args:
        name: name of the function, and of its concept if it returns one score per image.
        function: the function; an attribute ``concepts`` names the columns that it returns.

    Raises:
        InputError: the attribute is no tuple of names.
    """

    def __init__(self, name: str, function: Callable[[Tensor], Tensor]) -> None:
        self.name = name
        self.function = function
        names = getattr(function, "concepts", (name,))
        if (
            not isinstance(names, tuple | list)
            or not names
            or not all(isinstance(each, str) and each for each in names)
        ):
            raise InputError(f"concept {name} must have names of its columns in a tuple concepts; got {bounded(names)}")
        self.concepts = tuple(names)
        self.with_gradients = (False,) * len(self.concepts)

    def scores(self, images: Tensor, class_ids: Tensor) -> Tensor:  # noqa: ARG002
        """Return what the function returns, ``[n, concepts]``.

        Raises:
            InputError: the function failed, or returned something else than one finite number per image and concept.
        """
        try:
            scores = torch.as_tensor(self.function(images), device=images.device)
        except Exception as error:  # of the user's function, which may raise any
            if is_machine_error(error):
                raise
            raise InputError(f"concept {self.name} failed: {first_line(error)}; fix the function") from error
        scores = scores.float()
        if scores.ndim == 1:
            scores = scores[:, None]
        fits = list(scores.shape) == [len(images), len(self.concepts)]
        if not fits or not bool(scores.isfinite().all()):
            got = "numbers that are not finite" if fits else list(scores.shape)
            raise InputError(
                f"concept {self.name} must return [n] or [n, {len(self.concepts)}], finite, for n images; got {got}"
            )
        return scores


class JoinedScores(ConceptScores):
    """Scores by the concepts of several sources.

    Raises:
        InputError: two sources have a concept of the same name.
    """

    def __init__(self, sources: Sequence[ConceptScores]) -> None:
        self.sources = tuple(sources)
        self.concepts = tuple(concept for source in self.sources for concept in source.concepts)
        self.with_gradients = tuple(each for source in self.sources for each in source.with_gradients)
        repeated = sorted({concept for concept in self.concepts if self.concepts.count(concept) > 1})
        if repeated:
            raise InputError(f"concepts must have different names; got {repeated[0]!r} twice: rename one")

    def scores(self, images: Tensor, class_ids: Tensor) -> Tensor:
        """Return the scores by all concepts ``[n, concepts]``, float32."""
        return torch.cat([source.scores(images, class_ids).float() for source in self.sources], dim=1)

    def soft_scores(self, images: Tensor, class_ids: Tensor) -> Tensor:
        """Return the differentiable scores by all concepts, NaN for those without gradients."""
        return torch.cat([source.soft_scores(images, class_ids).float() for source in self.sources], dim=1)
