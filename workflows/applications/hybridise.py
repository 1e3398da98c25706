"""``cawa hybridise``: pictures between two classes by channel mixing, beside style mixing and both originals."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cawa_core.applications.editing import check_channels
from cawa_core.applications.hybridisation import channel_mixed, style_mixed
from cawa_core.class_metrics.realism import RealManifold
from cawa_core.errors import InputError
from cawa_core.generators.base import Channels
from cawa_core.rendering.sheets import Cell, Sheet, SheetRow, as_pixels, draw_sheet
from cawa_core.specs import AuditSpec
from cawa_core.storage import Storage, open_storage
from workflows.applications.options import HybridSpec
from workflows.applications.sheets import mean_and_error, mean_in_words, provenance, require_rows
from workflows.config import RunOptions
from workflows.stages.class_metrics import real_images
from workflows.stages.masking import site_order
from workflows.workbench import Workbench

FRACTIONS = (1 / 8, 1 / 4, 1 / 2, 1)
"""Of a site's channels, tried where k is not given."""
Array = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Mixture:
    """One way to mix: channels transplanted at each site, or, without any, another class from a site on."""

    first_site: int
    transplants: dict[int, Channels] = dataclasses.field(default_factory=dict)

    def images(self, bench: Workbench, z: Tensor, pair: tuple[int, int]) -> Tensor:
        """Pictures of some latents by the batch ``[n, C, H, W]``."""
        parts = [
            channel_mixed(bench.generator, rows, *pair, self.transplants)
            if self.transplants
            else style_mixed(bench.generator, rows, *pair, self.first_site)
            for rows in z.split(bench.batch_size)
        ]
        return torch.cat(parts)

    def as_data(self) -> dict[str, Any]:
        """For the file beside the sheet."""
        channels = {str(site): list(channels) for site, channels in self.transplants.items()}
        return {"first_site": self.first_site, "transplants": channels}


@dataclasses.dataclass(frozen=True)
class Scored:
    """What the networks see in pictures between two classes, ``[n]`` each.

    Attributes:
        input_probability, reference_probability: of the two classes.
        realism: see :class:`RealManifold`, of the real images of both classes together.
    """

    input_probability: Array
    reference_probability: Array
    realism: Array

    @property
    def balance(self) -> Array:
        """4 p q of the two probabilities: 1 where the classifier is torn between the classes, 0 where it sees one."""
        return 4 * self.input_probability * self.reference_probability

    @property
    def harmony(self) -> Array:
        """Balance times realism: what mixtures are chosen by."""
        return self.balance * self.realism


@dataclasses.dataclass(frozen=True)
class Hybrid:
    """One pair of classes: the best mixture of each kind, pictures, and scores on latents that did not choose it."""

    pair: tuple[int, int]
    mixtures: dict[str, Mixture]
    images: dict[str, Tensor]
    shown: dict[str, Scored]
    scored: dict[str, Scored]


def run_hybridise(
    inputs: Sequence[int | str],
    references: Sequence[int | str],
    hybrid: HybridSpec,
    spec: AuditSpec,
    options: RunOptions,
) -> Storage:
    """Draw the sheet of all pairs of an input and a reference class, and write it with their scores; gives where.

    Raises:
        InputError: bad input; nothing was written.
    """
    named = tuple(dict.fromkeys((*inputs, *references)))
    spec = dataclasses.replace(spec, classes=named, stages=("class_metrics",))  # for its networks and real images
    bench = Workbench.build(spec, options.with_absolute_paths())
    ids = bench.generator.classes
    pairs = [
        (first, second)
        for first, second in itertools.product(map(ids.resolve, inputs), map(ids.resolve, references))
        if first != second
    ]
    _check(hybrid, bench, pairs)
    with bench.arithmetic(), torch.inference_mode():
        found = [_hybrid(hybrid, bench, pair) for pair in pairs]
    storage = open_storage(hybrid.output or Path("results") / f"{bench.generator.name}-hybrid")
    storage.write("hybrid.png", draw_sheet(_sheet(bench, found)))
    storage.write("hybrid.json", json.dumps(_description(bench, found), indent=1).encode())
    return storage


def _check(hybrid: HybridSpec, bench: Workbench, pairs: Sequence[tuple[int, int]]) -> None:
    if not pairs:
        raise InputError("reference must name another class than input; a class with itself is itself")
    for site in hybrid.sites:
        check_channels(bench.generator, site, (0,))
    sites = [bench.generator.sites[site] for site in hybrid.sites] or bench.generator.sites
    most = min(site.channels - len(site.inert_channels) for site in sites)
    if hybrid.k and max(hybrid.k) > most:
        raise InputError(f"k must be at most {most}, the channels of the smallest of the sites; got {max(hybrid.k)}")
    require_rows(hybrid.latents, len(pairs), "pairs")


def _hybrid(hybrid: HybridSpec, bench: Workbench, pair: tuple[int, int]) -> Hybrid:
    z = bench.latents(pair[0], hybrid.tried_latents + hybrid.scored_latents)
    features = torch.cat([real_images(bench, class_id)[0]["manifold_features"] for class_id in pair])
    reals = RealManifold.of(features, bench.spec.neighbours)
    tried, scored = z[: hybrid.tried_latents], z[hybrid.tried_latents :]
    ways = {"style mixing": _style_mixtures(hybrid, bench), "channel mixing": _channel_mixtures(hybrid, bench, pair)}
    best = {
        kind: max(some, key=lambda one: _scores(bench, reals, pair, one.images(bench, tried, pair)).harmony.mean())
        for kind, some in ways.items()
    }
    n_sites = len(bench.generator.sites)
    pure = {"input": Mixture(n_sites), "reference": Mixture(0)}
    images = {kind: one.images(bench, z[: hybrid.latents], pair) for kind, one in (pure | best).items()}
    return Hybrid(
        pair,
        best,
        images,
        {kind: _scores(bench, reals, pair, some) for kind, some in images.items()},
        {kind: _scores(bench, reals, pair, one.images(bench, scored, pair)) for kind, one in best.items()},
    )


def _style_mixtures(hybrid: HybridSpec, bench: Workbench) -> list[Mixture]:
    """From each site on, but the first, from which on it is the other class; or from the first of those given."""
    if hybrid.sites:
        return [Mixture(min(hybrid.sites) + 1)]
    return [Mixture(site) for site in range(1, len(bench.generator.sites))]


def _channel_mixtures(hybrid: HybridSpec, bench: Workbench, pair: tuple[int, int]) -> list[Mixture]:
    """The reference's most aware channels: at all given sites together, else at one site after another; each k."""
    sites = bench.generator.sites
    found = []
    for chosen in [hybrid.sites] if hybrid.sites else [(site.index,) for site in sites]:
        orders = {site: site_order(bench, pair[1], site) for site in chosen}
        fewest = min(map(len, orders.values()))
        for k in hybrid.k or sorted({max(1, round(fraction * fewest)) for fraction in FRACTIONS}):
            transplants = {site: tuple(order[-k:].tolist()) for site, order in orders.items()}
            found.append(Mixture(min(chosen), transplants))
    return found


def _scores(bench: Workbench, reals: RealManifold, pair: tuple[int, int], images: Tensor) -> Scored:
    logs, features = [], []
    for some in images.split(bench.batch_size):
        logs.append(bench.evaluator.log_probabilities(some)[:, list(pair)])
        features.append(bench.judges["manifold_features"].features(some).float().cpu())
    both = torch.cat(logs).exp().cpu().numpy()
    return Scored(both[:, 0], both[:, 1], reals.realism(torch.cat(features)).numpy())


def _sheet(bench: Workbench, found: Sequence[Hybrid]) -> Sheet:
    names, rows = bench.generator.class_names, []
    latents = len(found[0].scored["channel mixing"].realism)
    for one in found:
        first, second = (names[class_id] for class_id in one.pair)
        for latent in range(len(one.images["input"])):
            cells = tuple(
                Cell(
                    as_pixels(one.images[kind][latent]),
                    f"{first} {seen.input_probability[latent]:.2f}\n{second} {seen.reference_probability[latent]:.2f}\n"
                    f"realism {seen.realism[latent]:.2f}",
                    framed=kind == "channel mixing",
                )
                for kind, seen in one.shown.items()
            )
            rows.append(SheetRow(f"{first}\n× {second}" if latent == 0 else "", cells, begins_group=latent == 0))
        means = (mean_in_words(one.scored[kind].harmony) if kind in one.scored else "" for kind in one.shown)
        rows.append(SheetRow("harmony", tuple(Cell(None, text) for text in means)))
    return Sheet(
        f"{bench.generator.name}: classes mixed",
        f"Probabilities by {bench.evaluator.name}; realism: 1 and more lies among real images of either class. "
        f"Harmony: 4 p q times realism, over {latents:,} latents that did not choose the mixture, ± standard error. "
        f"Seed {bench.spec.seed}.",
        ("input", "reference", "style mixing", "channel mixing"),
        tuple(rows),
    )


def _description(bench: Workbench, found: Sequence[Hybrid]) -> dict[str, Any]:
    pairs = []
    for one in found:
        difference = one.scored["channel mixing"].harmony - one.scored["style mixing"].harmony
        pairs.append(
            {
                "input": one.pair[0],
                "reference": one.pair[1],
                "mixtures": {
                    kind: mixture.as_data()
                    | {name: mean_and_error(values) for name, values in _columns(one.scored[kind]).items()}
                    for kind, mixture in one.mixtures.items()
                },
                "harmony_gained_by_channels": mean_and_error(difference),
            }
        )
    return {
        **provenance(bench),
        "scores": bench.score_protocol,
        "realism": bench.judges["manifold_features"].protocol,
        "scored_latents": len(found[0].scored["channel mixing"].realism),
        "pairs": pairs,
    }


def _columns(scored: Scored) -> dict[str, Array]:
    names = ("input_probability", "reference_probability", "realism", "balance", "harmony")
    return {name: getattr(scored, name) for name in names}
