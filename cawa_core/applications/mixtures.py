"""Which way of mixing two classes is harmonious: what the networks see in its pictures (paper, section 5.2)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cawa_core.applications.hybridisation import channel_mixing, style_mixing
from cawa_core.class_metrics.realism import RealManifold
from cawa_core.errors import InputError
from cawa_core.evaluators.base import Evaluator, FeatureExtractor
from cawa_core.generators.base import Channels, Generator, class_ids_of
from cawa_core.interventions import Change, run, sweep

FRACTIONS = (1 / 8, 1 / 4, 1 / 2, 1)
"""Of a site's channels, tried where their number is not given."""
MIXED = ("style_mixing", "channel_mixing")
KINDS = ("input", "reference", *MIXED)
"""Of pictures that are seen side by side: those of the two classes, and those between them."""
MEASURES = ("input_probability", "reference_probability", "balance", "realism", "harmony")
"""What :class:`MixtureScores` says of pictures."""
Array = NDArray[np.float64]
Pair = tuple[int, int]
"""Input class and reference class."""


@dataclasses.dataclass(frozen=True)
class Mixture:
    """One way to mix: channels transplanted at each site, or, without any, another class from a site on.

    Attributes:
        first_site: the first site with transplants, or the first that is under the reference class.
        transplants: site => channels that come from the reference class.
    """

    first_site: int
    transplants: Mapping[int, Channels] = dataclasses.field(default_factory=dict)

    def images(self, generator: Generator, z: Tensor, pair: Pair) -> Tensor:
        """Pictures ``[n, C, H, W]`` in [-1, 1] of latents ``[n, z_dim]``."""
        return run(generator, z, class_ids_of(pair[0], z), self.interventions(pair[1]))

    def interventions(self, reference_class: int) -> list[Change]:
        """Return what turns images of the input class into the mixture."""
        if self.transplants:
            return channel_mixing(reference_class, self.transplants)
        return style_mixing(reference_class, self.first_site)


@torch.inference_mode()
def pictures_of_each(
    generator: Generator, z: Tensor, pair: Pair, mixtures: Sequence[Mixture]
) -> Iterator[tuple[int, Tensor]]:
    """Pictures of many mixtures of the same latents; what comes before their first sites is computed once.

    Args:
        generator: of the pictures.
        z: latents ``[n, z_dim]``.
        pair: the classes.
        mixtures: in any order.

    Returns:
        The index of each mixture and its images ``[n, C, H, W]``, by first site.

    Raises:
        InputError: a mixture that is one of the classes alone, or of a site that is not there.
    """
    last = len(generator.sites) - 1
    for mixture in mixtures:
        if not (0 if mixture.transplants else 1) <= mixture.first_site <= last:
            raise InputError(
                f"mixtures must have a first site in 0..{last}, from 1 on without transplants; got {mixture.first_site}"
            )
    variants = [mixture.interventions(pair[1]) for mixture in mixtures]
    for indices, images in sweep(generator, z, class_ids_of(pair[0], z), variants):
        yield indices[0], images


def style_mixtures(generator: Generator, sites: Sequence[int] = ()) -> list[Mixture]:
    """From each site on but the first, from which on it is the other class; of given sites, from after the first.

    Raises:
        InputError: a site that is not there, or one given twice.
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
    """The channels that the reference class is most aware of: at each site alone, or at all given ones together.

    Args:
        generator: whose sites there are.
        order_of: site => its channels that reach the image, in ascending category awareness of the reference class.
        sites: together; each alone where none are given.
        numbers: of channels at a site, at most what the smallest has; else the shares ``FRACTIONS``.

    Raises:
        InputError: a site that is not there, or more channels than a site has.
    """
    if sites:
        generator.require_sites(sites)
    found = []
    for chosen in [tuple(sites)] if sites else [(site.index,) for site in generator.sites]:
        orders = {site: order_of(site) for site in chosen}
        fewest = min(map(len, orders.values()))
        if numbers and not 1 <= min(numbers) <= max(numbers) <= fewest:
            raise InputError(f"numbers of channels must be in 1..{fewest} at sites {chosen}; got {list(numbers)}")
        for number in numbers or sorted({max(1, round(fraction * fewest)) for fraction in FRACTIONS}):
            transplants = {site: tuple(order[-number:].tolist()) for site, order in orders.items()}
            found.append(Mixture(min(chosen), transplants))
    return found


@dataclasses.dataclass(frozen=True)
class MixtureScores:
    """What the networks see in pictures between two classes, ``[n]`` each.

    Attributes:
        input_probability, reference_probability: of the two classes.
        realism: see :class:`RealManifold`, of the real images of both classes together; None without real images.
    """

    input_probability: Array
    reference_probability: Array
    realism: Array | None

    @property
    def balance(self) -> Array:
        """4 p q of the two probabilities: 1 where the classifier is torn between the classes, 0 where it sees one."""
        return 4 * self.input_probability * self.reference_probability

    @property
    def harmony(self) -> Array:
        """Balance times realism, or balance alone without real images: what mixtures are chosen by."""
        return self.balance if self.realism is None else self.balance * self.realism

    def measures(self) -> dict[str, Array]:
        """All that is known, by name."""
        return {name: values for name in MEASURES if (values := getattr(self, name)) is not None}


@dataclasses.dataclass(frozen=True)
class Sweep:
    """What mixtures scored that were tried on the same latents.

    Attributes:
        mixtures: in the order given.
        totals: sums over the latents of what :class:`MixtureScores` measures, by name, one a mixture ``[m]``.
        n_latents: how many latents there were.
    """

    mixtures: tuple[Mixture, ...]
    totals: Mapping[str, Array]
    n_latents: int

    @property
    def best(self) -> Mixture:
        """The first of the largest mean harmony."""
        return self.mixtures[int(np.argmax(self.totals["harmony"]))]

    def means(self) -> list[dict[str, float]]:
        """Means over the latents by name, one a mixture."""
        return [
            {name: float(sums[place] / self.n_latents) for name, sums in self.totals.items()}
            for place in range(len(self.mixtures))
        ]


@dataclasses.dataclass(frozen=True)
class MixtureJudge:
    """Scores mixtures of one pair of classes.

    Attributes:
        generator: makes the pictures.
        evaluator: gives the probabilities.
        pair: the classes.
        features: network of the realism; None without real images.
        reals: manifold of both classes' real images in these features; None without real images.
        batch_size: pictures to a pass.
        progress: told how many pictures were scored, after each pass.
    """

    generator: Generator
    evaluator: Evaluator
    pair: Pair
    features: FeatureExtractor | None = None
    reals: RealManifold | None = None
    batch_size: int = 16
    progress: Callable[[int], None] | None = None

    @torch.inference_mode()
    def scores(self, images: Tensor) -> MixtureScores:
        """Of pictures ``[n, C, H, W]``."""
        return self._joined(images.split(self.batch_size))

    @torch.inference_mode()
    def scores_of(self, mixture: Mixture, z: Tensor) -> MixtureScores:
        """Of a mixture of latents ``[n, z_dim]``."""
        return self._joined(mixture.images(self.generator, rows, self.pair) for rows in z.split(self.batch_size))

    def sweep(self, mixtures: Sequence[Mixture], z: Tensor) -> Sweep:
        """Scores of all mixtures over latents ``[n, z_dim]``, of which the best is chosen.

        Raises:
            InputError: no mixtures, or one that is a class alone.
        """
        if not mixtures:
            raise InputError("mixtures must be at least one; a generator of one site has none by style")
        totals: dict[str, Array] = {}
        for rows in z.split(self.batch_size):
            for place, images in pictures_of_each(self.generator, rows, self.pair, mixtures):
                for name, values in self.scores(images).measures().items():
                    totals.setdefault(name, np.zeros(len(mixtures)))[place] += values.sum()
        return Sweep(tuple(mixtures), totals, len(z))

    def _joined(self, batches: Iterable[Tensor]) -> MixtureScores:
        probabilities, realism = [], []
        for images in batches:
            logs = self.evaluator.log_probabilities(images)[:, list(self.pair)]
            probabilities.append(logs.double().exp().cpu().numpy())
            if self.features is not None and self.reals is not None:
                realism.append(self.reals.realism(self.features.features(images).float()).cpu().numpy())
            if self.progress is not None:
                self.progress(len(images))
        both = np.concatenate(probabilities)
        return MixtureScores(both[:, 0], both[:, 1], np.concatenate(realism) if realism else None)
