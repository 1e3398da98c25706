"""Harmony of mixtures of two classes, as the networks score their images (paper, section 5.2)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cawa_core.class_metrics.realism import RealManifold
from cawa_core.errors import InputError, bounded
from cawa_core.evaluators.base import Evaluator, FeatureExtractor
from cawa_core.generators.base import Channels, Generator, class_ids_of
from cawa_core.hybrids.hybridisation import channel_mixing, style_mixing
from cawa_core.interventions import Change, run, sweep

FRACTIONS = (1 / 8, 1 / 4, 1 / 2, 1)
"""Fractions of a site's channels to try if no number is given."""
MEASURES = ("input_probability", "reference_probability", "balance", "realism", "harmony")
"""Measures of :class:`MixtureScores`."""
Array = NDArray[np.float64]
Pair = tuple[int, int]
"""Input class and reference class."""


@dataclasses.dataclass(frozen=True)
class Mixture:
    """Channels transplanted at each site or, without any, another class from a first site to the last.

    Attributes:
        first_site: first site with transplants, or first site under the reference class.
        transplants: site => channels that come from the reference class.
    """

    first_site: int
    transplants: Mapping[int, Channels] = dataclasses.field(default_factory=dict)

    @property
    def most_channels(self) -> int:
        """Channels transplanted at the site with most of them; 0 without transplants."""
        return max(map(len, self.transplants.values()), default=0)

    def images(self, generator: Generator, z: Tensor, pair: Pair) -> Tensor:
        """Generate images ``[n, C, H, W]`` in [-1, 1] from latents ``[n, z_dim]``."""
        return run(generator, z, class_ids_of(pair[0], z), self.interventions(pair[1]))

    def interventions(self, reference_class: int) -> list[Change]:
        """Return the changes that turn images of the input class into the mixture."""
        if self.transplants:
            return channel_mixing(reference_class, self.transplants)
        return style_mixing(reference_class, self.first_site)


@torch.inference_mode()
def pictures_of_each(
    generator: Generator, z: Tensor, pair: Pair, mixtures: Sequence[Mixture]
) -> Iterator[tuple[int, Tensor]]:
    """Generate images of several mixtures from the same latents; the pass up to their first sites is computed once.

    Args:
        generator: generator of the images.
        z: latents ``[n, z_dim]``.
        pair: input and reference class.
        mixtures: mixtures in any order.

    Returns:
        Index of each mixture and its images ``[n, C, H, W]``, ordered by first site.

    Raises:
        InputError: a mixture is one of the two classes, or its first site does not exist.
    """
    last = len(generator.sites) - 1
    for mixture in mixtures:
        if not (0 if mixture.transplants else 1) <= mixture.first_site <= last:
            raise InputError(
                f"mixtures must have a first site in 0..{last}, or 1..{last} without transplants; got "
                f"{mixture.first_site}"
            )
    variants = [mixture.interventions(pair[1]) for mixture in mixtures]
    for indices, images in sweep(generator, z, class_ids_of(pair[0], z), variants):
        yield indices[0], images


def style_mixtures(generator: Generator, sites: Sequence[int] = ()) -> list[Mixture]:
    """List style mixtures: one for each first site from 1; for given sites, one that starts after the first of them.

    Raises:
        InputError: a site does not exist or is given twice.
    """
    last = len(generator.sites) - 1
    if sites:
        generator.require_sites(sites)
        return [Mixture(min(min(sites) + 1, last))]
    return [Mixture(site) for site in range(1, last + 1)]


def channel_mixtures(
    generator: Generator,
    order_of: Callable[[int], NDArray[np.int64]],
    sites: Sequence[int] = (),
    numbers: Sequence[int] = (),
) -> list[Mixture]:
    """List mixtures of the channels that the reference class is most aware of, at each site or at all given sites.

    Args:
        generator: generator of the images.
        order_of: function that returns the channels of a site that reach the image, in ascending category awareness
            of the reference class.
        sites: sites to mix together; if empty, each site by itself.
        numbers: channels per site, at most as many as the smallest site has; by default the shares ``FRACTIONS``.

    Raises:
        InputError: a site does not exist, or has fewer channels than requested.
    """
    if sites:
        generator.require_sites(sites)
    mixtures = []
    for chosen in [tuple(sites)] if sites else [(site.index,) for site in generator.sites]:
        orders = {site: order_of(site) for site in chosen}
        fewest = min(map(len, orders.values()))
        if numbers and not 1 <= min(numbers) <= max(numbers) <= fewest:
            raise InputError(
                f"numbers of channels must be in 1..{fewest} at sites {chosen}; got {bounded(list(numbers))}"
            )
        for number in numbers or sorted({max(1, round(fraction * fewest)) for fraction in FRACTIONS}):
            transplants = {site: tuple(order[-number:].tolist()) for site, order in orders.items()}
            mixtures.append(Mixture(min(chosen), transplants))
    return mixtures


@dataclasses.dataclass(frozen=True)
class MixtureScores:
    """Scores of images between two classes, ``[n]`` each.

    Attributes:
        input_probability, reference_probability: probabilities of the two classes.
        realism: see :class:`RealManifold`, for the real images of both classes together; None without real images.
        predicted: class of the highest probability, int64.
    """

    input_probability: Array
    reference_probability: Array
    realism: Array | None
    predicted: NDArray[np.int64]

    @classmethod
    def joined(cls, parts: Sequence[MixtureScores]) -> MixtureScores:
        """Join the scores of batches."""
        realism = [part.realism for part in parts if part.realism is not None]
        return cls(
            input_probability=np.concatenate([part.input_probability for part in parts]),
            reference_probability=np.concatenate([part.reference_probability for part in parts]),
            realism=np.concatenate(realism) if realism else None,
            predicted=np.concatenate([part.predicted for part in parts]),
        )

    @property
    def balance(self) -> Array:
        """Balance 4 p q of the two probabilities: 1 if the classifier is undecided between them, 0 if it is certain."""
        return 4 * self.input_probability * self.reference_probability

    @property
    def harmony(self) -> Array:
        """Balance times realism, or just balance without real images; mixtures are chosen by it."""
        return self.balance if self.realism is None else self.balance * self.realism

    def measures(self) -> dict[str, Array]:
        """Return the known measures by name."""
        return {name: values for name in MEASURES if (values := getattr(self, name)) is not None}


@dataclasses.dataclass(frozen=True)
class Sweep:
    """Total scores of mixtures that were tried on the same latents.

    Attributes:
        mixtures: mixtures in the order given.
        totals: sums over the latents of each measure of :class:`MixtureScores`, one per mixture ``[m]``.
        predicted: class of the highest probability on each latent, int64 ``[m, n_latents]``.
    """

    mixtures: tuple[Mixture, ...]
    totals: Mapping[str, Array]
    predicted: NDArray[np.int64]

    @property
    def n_latents(self) -> int:
        """Number of latents."""
        return len(self.predicted[0])

    @property
    def best(self) -> Mixture:
        """Mixture with the largest mean harmony; the first if several tie."""
        return self.mixtures[int(np.argmax(self.totals["harmony"]))]

    def means(self) -> list[dict[str, float]]:
        """Return the mean of each measure over the latents, by name, for every mixture."""
        return [
            {name: float(sums[place] / self.n_latents) for name, sums in self.totals.items()}
            for place in range(len(self.mixtures))
        ]


@dataclasses.dataclass(frozen=True)
class MixtureJudge:
    """Scores mixtures of a pair of classes.

    Attributes:
        generator: generator of the images.
        evaluator: classifier that predicts the class probabilities.
        pair: input and reference class.
        features: network whose features realism is measured in; None without real images.
        real_manifold: manifold of both classes' real images in these features; None without real images.
        batch_size: images per pass.
        progress: function called with the number of images scored, after each pass.
    """

    generator: Generator
    evaluator: Evaluator
    pair: Pair
    features: FeatureExtractor | None = None
    real_manifold: RealManifold | None = None
    batch_size: int = 16
    progress: Callable[[int], None] | None = None

    @torch.inference_mode()
    def scores(self, images: Tensor) -> MixtureScores:
        """Score images ``[n, C, H, W]``."""
        return MixtureScores.joined([self._scores_of_batch(batch) for batch in images.split(self.batch_size)])

    @torch.inference_mode()
    def scores_of(
        self,
        mixtures: Mapping[str, Mixture],
        z: Tensor,
        observe: Callable[[Mapping[str, Tensor]], None] | None = None,
    ) -> dict[str, MixtureScores]:
        """Score mixtures on the same latents ``[n, z_dim]``.

        Args:
            mixtures: mixtures by name.
            z: latents.
            observe: function called with the images of each batch of latents, ``[n, C, H, W]`` by name.
        """
        parts: dict[str, list[MixtureScores]] = {name: [] for name in mixtures}
        for rows in z.split(self.batch_size):
            images = {name: mixture.images(self.generator, rows, self.pair) for name, mixture in mixtures.items()}
            for name, pictures in images.items():
                parts[name].append(self._scores_of_batch(pictures))
            if observe is not None:
                observe(images)
        return {name: MixtureScores.joined(of_batches) for name, of_batches in parts.items()}

    def sweep(self, mixtures: Sequence[Mixture], z: Tensor) -> Sweep:
        """Score all mixtures on latents ``[n, z_dim]``, to choose the best.

        Raises:
            InputError: there are no mixtures, or one of them is one of the two classes.
        """
        if not mixtures:
            raise InputError("mixtures must have at least one entry; a generator with one site has no style mixtures")
        totals: dict[str, Array] = {}
        predicted: list[list[NDArray[np.int64]]] = [[] for _ in mixtures]
        for rows in z.split(self.batch_size):
            for place, images in pictures_of_each(self.generator, rows, self.pair, mixtures):
                scores = self.scores(images)
                predicted[place].append(scores.predicted)
                for name, values in scores.measures().items():
                    totals.setdefault(name, np.zeros(len(mixtures)))[place] += values.sum()
        return Sweep(tuple(mixtures), totals, np.stack([np.concatenate(of_mixture) for of_mixture in predicted]))

    def _scores_of_batch(self, images: Tensor) -> MixtureScores:
        log_probabilities = self.evaluator.log_probabilities(images)
        probabilities = log_probabilities[:, list(self.pair)].double().exp().cpu().numpy()
        realism = None
        if self.features is not None and self.real_manifold is not None:
            realism = self.real_manifold.realism(self.features.features(images).float()).cpu().numpy()
        if self.progress is not None:
            self.progress(len(images))
        return MixtureScores(
            input_probability=probabilities[:, 0],
            reference_probability=probabilities[:, 1],
            realism=realism,
            predicted=log_probabilities.argmax(dim=1).cpu().numpy(),
        )
