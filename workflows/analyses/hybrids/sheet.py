"""``cawa hybridise``: mix two classes by channel mixing, beside style mixing and both originals."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Sequence
from typing import Any

from cawa_core.errors import InputError
from cawa_core.generators.base import Generator
from cawa_core.hybrids.kinds import MIXED
from cawa_core.hybrids.mixtures import Mixture, Pair, Sweep
from cawa_core.rendering.pixels import as_pixels
from cawa_core.rendering.sheets import Cell, Sheet, SheetRow, draw_sheet
from cawa_core.storage import Storage
from workflows.analyses.class_metrics import ManifoldOptions
from workflows.analyses.hybrids.command import HybridiseCommandOptions
from workflows.analyses.hybrids.search import Choice, Hybrid, hybrid, pictures_scored
from workflows.commands.sheets import (
    Advance,
    as_json,
    computed,
    mean_and_error,
    mean_in_words,
    opened_output,
    provenance,
    require_rows,
)
from workflows.lab import Lab
from workflows.lab.real_check import check_real_images, require_real_images
from workflows.options.audit import AuditSpec, options_as
from workflows.options.run import RunOptions

LABELS = {
    "input": "input",
    "reference": "reference",
    "style_mixing": "style mixing",
    "channel_mixing": "channel mixing",
}
LISTED = 5
"""Mixtures per pair in the printed list."""
LISTED_HEADING = "  kind               sites      k  harmony  balance   realism  p input  p reference"


@dataclasses.dataclass(frozen=True)
class HybridResult:
    """Result of ``cawa hybridise``.

    Attributes:
        storage: folder of ``hybrid.png`` and ``hybrid.json``.
        lines: table of the mixtures of each pair that have the largest harmony on the latents used to choose.
    """

    storage: Storage
    lines: tuple[str, ...]


def run_hybridise(
    inputs: Sequence[int | str],
    references: Sequence[int | str],
    chosen: HybridiseCommandOptions,
    spec: AuditSpec,
    options: RunOptions,
) -> HybridResult:
    """Draw the sheet of all pairs of an input and a reference class and write it with the scores of all mixtures.

    Raises:
        InputError: bad input; nothing was written.
    """
    named = ("all",) if "all" in (*inputs, *references) else (*inputs, *references)
    spec = dataclasses.replace(spec, classes=named)
    needs = ("evaluator", "real_images", "manifold_features") if spec.real_images else ("evaluator",)
    lab = Lab.from_spec(spec, options.with_absolute_paths(), needs, once=False)
    _check_mixing(lab.generator)
    sides = [_class_indices(lab, words) for words in (inputs, references)]
    pairs = [(first, second) for first, second in itertools.product(*sides) if first != second]
    _check(chosen, lab, pairs)
    neighbours = options_as(ManifoldOptions, spec).neighbours
    if lab.real_image_set is not None:
        require_real_images(lab, neighbours)
    check_real_images(lab)
    choice = Choice(chosen.tried_latents, chosen.scored_latents, neighbours, chosen.sites, chosen.k)
    storage = opened_output(chosen.output, lab, "hybrid")
    pictures_per_pair = pictures_scored(lab, choice, chosen.latents)
    work = functools.partial(_hybrid, lab, choice, chosen.latents)
    hybrids = computed(lab, "mixing classes of", pairs, work, pictures_per_pair)
    storage.write("hybrid.png", draw_sheet(_sheet(lab, hybrids)))
    storage.write("hybrid.json", as_json(provenance(lab, spec, chosen) | _description(lab, hybrids)))
    return HybridResult(storage, tuple(_sweep_lines(lab, hybrids)))


def _hybrid(lab: Lab, choice: Choice, pictures: int, pair: Pair, advance: Advance) -> Hybrid:
    return hybrid(lab, pair, choice, pictures, advance)


def _class_indices(lab: Lab, words: Sequence[int | str]) -> list[int]:
    """Return the indices of classes in the order given, without duplicates."""
    classes = lab.generator.classes
    if tuple(words) == ("all",):
        return list(classes.resolve_all(("all",)))
    return list(dict.fromkeys(classes.resolve(word) for word in words))


def _check_mixing(generator: Generator) -> None:
    if not generator.mixes_classes:
        raise InputError(
            f"generator must be able to switch classes between sites; {generator.name} takes one class for a whole "
            "picture, so give one that has Generator.reconditioned, see docs/own_generator.md"
        )
    if len(generator.sites) < 2:
        raise InputError(
            f"generator must have at least two sites to mix classes; {generator.name} has one: choose another"
        )


def _check(chosen: HybridiseCommandOptions, lab: Lab, pairs: Sequence[tuple[int, int]]) -> None:
    if not pairs:
        raise InputError("reference must include a class other than the input")
    for site in chosen.sites:
        lab.generator.require_channels(site, (0,))
    sites = [lab.generator.sites[site] for site in chosen.sites] or lab.generator.sites
    most = min(site.channels - len(site.inert_channels) for site in sites)
    if chosen.k and max(chosen.k) > most:
        raise InputError(f"k must be at most {most}, the channels of the smallest site; got {max(chosen.k)}")
    require_rows(chosen.latents, len(pairs), "pairs")


def _sheet(lab: Lab, hybrids: Sequence[Hybrid]) -> Sheet:
    names = lab.generator.class_names
    rows = []
    scored = hybrids[0].scored["channel_mixing"]
    realism = "; realism: 1 or more is among real images of either class"
    harmony = "4 p q" if scored.realism is None else "4 p q times realism"
    for result in hybrids:
        first, second = (names[class_id] for class_id in result.pair)
        for latent in range(len(result.images["input"])):
            cells = tuple(
                Cell(
                    as_pixels(result.images[kind][latent]),
                    f"{first} {scores.input_probability[latent]:.2f}\n"
                    f"{second} {scores.reference_probability[latent]:.2f}"
                    + ("" if scores.realism is None else f"\nrealism {scores.realism[latent]:.2f}"),
                    framed=kind == "channel_mixing",
                )
                for kind, scores in result.image_scores.items()
            )
            rows.append(SheetRow(f"{first}\n× {second}" if latent == 0 else "", cells, begins_group=latent == 0))
        means = (mean_in_words(result.scored[kind].harmony) if kind in MIXED else "" for kind in LABELS)
        rows.append(SheetRow("harmony", tuple(Cell(None, text) for text in means)))
    return Sheet(
        f"{lab.generator.name}: classes mixed",
        f"Probabilities by {lab.evaluator.name}{realism * (scored.realism is not None)}. "
        f"Harmony: {harmony}, over {len(scored.harmony):,} held-out latents, ± standard error. "
        f"Seed {lab.spec.seed}.",
        tuple(LABELS.values()),
        tuple(rows),
    )


def _description(lab: Lab, hybrids: Sequence[Hybrid]) -> dict[str, Any]:
    pairs = []
    for result in hybrids:
        difference = result.scored["channel_mixing"].harmony - result.scored["style_mixing"].harmony
        pairs.append(
            {
                "input": result.pair[0],
                "reference": result.pair[1],
                "mixtures": {
                    LABELS[kind]: _as_data(result.mixtures[kind])
                    | {name: mean_and_error(values) for name, values in result.scored[kind].measures().items()}
                    | {"tried": _tried(result.sweeps[kind])}
                    for kind in MIXED
                },
                "harmony_gained_by_channels": mean_and_error(difference),
            }
        )
    return {
        "scores": lab.score_protocol,
        "realism": None if lab.real_image_set is None else lab.networks["manifold_features"].protocol,
        "tried_latents": hybrids[0].sweeps["channel_mixing"].n_latents,
        "scored_latents": len(hybrids[0].scored["channel_mixing"].harmony),
        "pairs": pairs,
    }


def _tried(sweep: Sweep) -> list[dict[str, Any]]:
    """Return the mean scores of all mixtures on the latents used to choose; k channels have the highest awareness."""
    return [
        {"first_site": mixture.first_site, "sites": sorted(mixture.transplants), "k": mixture.most_channels} | means
        for mixture, means in zip(sweep.mixtures, sweep.means(), strict=True)
    ]


def _sweep_lines(lab: Lab, hybrids: Sequence[Hybrid]) -> list[str]:
    names = lab.generator.class_names
    lines = []
    for result in hybrids:
        tried = [(kind, entry) for kind in MIXED for entry in _tried(result.sweeps[kind])]
        best = sorted(tried, key=lambda pair: -pair[1]["harmony"])[:LISTED]
        first, second = (names[class_id] for class_id in result.pair)
        words = f"{len(tried)} mixtures on the {result.sweeps[MIXED[0]].n_latents} latents that choose"
        lines += [f"{first} × {second}: best {len(best)} of {words}", LISTED_HEADING]
        for kind, entry in best:
            sites = ",".join(map(str, entry["sites"])) or f"from {entry['first_site']}"
            realism = f"{entry['realism']:8.2f}" if "realism" in entry else "       –"
            lines.append(
                f"  {LABELS[kind]:14}  {sites:>8}  {entry['k'] or '–':>5}  {entry['harmony']:7.3f}  "
                f"{entry['balance']:7.3f}  {realism}  {entry['input_probability']:7.2f}  "
                f"{entry['reference_probability']:11.2f}"
            )
    return lines


def _as_data(mixture: Mixture) -> dict[str, Any]:
    channels = {str(site): list(channels) for site, channels in mixture.transplants.items()}
    return {"first_site": mixture.first_site, "transplants": channels}
