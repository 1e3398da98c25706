"""Directions in the summary and the report: how far each way moves a concept, at what cost, and what else it moves."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cawa_core.errors import counted
from cawa_core.rendering.claims import Claim
from cawa_core.rendering.html_tables import records
from cawa_core.rendering.sections import Section, Tables
from cawa_core.statistics.intervals import percentile_interval
from cawa_core.statistics.verdicts import FAILS, FEWEST_CLASSES, HOLDS, OPEN
from cawa_core.tables import Manifest
from workflows.analyses.directions import (
    CONTROLLING_SETS_TABLE,
    DIRECTION_RESCORING_TABLE,
    DIRECTIONS_TABLE,
    EMBEDDING_CHANCE,
    EMBEDDING_SET,
    LATENT_CHANCE,
    LATENT_SET,
    RANDOM,
    SETS,
    TRANSLATIONS_TABLE,
    WAYS,
    DirectionOptions,
    chosen_strength,
)
from workflows.analyses.directions.sections import MEASURES, REALISM_LOSS, directions_section
from workflows.interface import Content, Findings, Results
from workflows.results.class_resamples import ClassResamples

Array = NDArray[np.float64]

STEPPED_BY = {
    LATENT_SET: "strength",
    LATENT_CHANCE: "strength",
    EMBEDDING_SET: "n_dimensions",
    EMBEDDING_CHANCE: "n_dimensions",
}
"""Column that grows along each way of a translation."""
TIMES_CHANCE = 3.0
"""How many times as far as random sets controlling sets are claimed to move their concept."""


class DirectionsResults(Results[DirectionOptions]):
    """Effects of directions on the concepts that they are for, and on everything else."""

    def summary(self, findings: Findings) -> Content:
        """Return means over classes with intervals."""
        rows = findings.manifest.table(DIRECTIONS_TABLE.name)
        if rows.empty:
            return {"directions": None}
        spec: Any = findings.spec  # a spec has the options of every analysis
        strength = chosen_strength(spec)
        translations = findings.manifest.table(TRANSLATIONS_TABLE.name)
        return {
            "directions": {
                "n_classes": int(rows.class_id.nunique()),
                "strength": strength,
                "concepts": concept_rows(rows, strength, set_sizes_of(findings.manifest), findings.resamples),
                "ways": way_rows(rows, findings.resamples),
                "at_equal_realism": changes_at_equal_realism(rows, findings.resamples),
                "rescoring": rescoring_matrices(findings.manifest.table(DIRECTION_RESCORING_TABLE.name)),
                "translations": translation_rows(translations, findings.resamples),
            }
        }

    def claims(self, summary: Content) -> Sequence[Claim]:
        """Decide whether controlling sets move concepts further than chance does."""
        entry = summary.get("directions")
        return [set_claim(entry)] if entry else []

    def sections(self, tables: Tables, summary: Content) -> Sequence[Section]:  # noqa: ARG002
        """Build the section."""
        entry = summary.get("directions")
        return [directions_section(entry)] if entry else []


def set_sizes_of(manifest: Manifest) -> dict[tuple[str, str, str], int]:
    """Return the number of dimensions of the controlling set of each concept, space and way."""
    sets = manifest.table(CONTROLLING_SETS_TABLE.name)
    firsts = sets.groupby(["concept", "space", "way"]).dimensions.first()
    return {(row["concept"], row["space"], row["way"]): len(row["dimensions"]) for row in records(firsts.reset_index())}


def concept_rows(
    rows: pd.DataFrame, strength: float, sizes: Mapping[tuple[str, str, str], int], resamples: ClassResamples
) -> list[dict[str, Any]]:
    """Compare the ways concept by concept at one strength.

    Returns:
        For each concept and space: ``n_dimensions`` of each controlling set, 0 if none controls the concept; for each
        way ``<way>``, the change of :func:`mean_change` with its interval; and ``times_chance``, that of the
        controlling set whose size random sets have (the sequential one, if there is one) over theirs.
    """
    chosen = rows[np.isclose(rows.strength, strength)]
    entries = []
    for (space, concept), part in chosen.groupby(["space", "concept"], sort=False):
        name, place = str(concept), str(space)
        entry: dict[str, Any] = {
            "concept": name,
            "space": place,
            "n_dimensions": {way: sizes.get((name, place, way)) for way in SETS},
        }
        changes = {str(way): mean_change(group, resamples) for way, group in part.groupby("way")}
        for way in WAYS:
            change = changes.get(way)
            entry |= {way: change and change.value, f"{way}_ci": change and change.interval}
        controlling = next((changes[way] for way in SETS if way in changes), None)
        entry |= _times_chance(controlling, changes.get(RANDOM))
        entries.append(entry)
    return latent_first(entries)


@dataclasses.dataclass(frozen=True)
class Change:
    """Mean change over classes and concepts, and its bootstrap resamples over classes (None for a single class)."""

    value: float
    draws: Array | None

    @property
    def interval(self) -> list[float] | None:
        """The 95% interval."""
        return interval_of(self.draws)


def mean_change(rows: pd.DataFrame, resamples: ClassResamples) -> Change:
    """Return the mean change of concepts, in standard deviations, by one way at one strength.

    Changes are averaged over classes first. A random set has no sign of its own, so that the size of this mean counts,
    averaged over the sets; all other ways keep their sign. Sizes of resamples are larger than that of the mean rather
    than smaller, which makes ratios to them smaller.

    Args:
        rows: rows of ``directions`` of one space, way and strength.
        resamples: bootstrap over classes.
    """
    wide = rows.pivot_table(index="class_id", columns=["concept", "draw"], values="change_size")
    values = np.nan_to_num(wide.to_numpy(dtype=np.float64))
    known = wide.notna().to_numpy(dtype=np.float64)
    is_random = (rows.way == RANDOM).all()

    def averaged(weights: Array) -> Array:
        with np.errstate(divide="ignore", invalid="ignore"):
            means = (weights @ values) / (weights @ known)  # [resamples, concepts · draws]
        return np.asarray(np.nanmean(np.abs(means) if is_random else means, axis=1))

    whole = averaged(np.ones((1, len(wide))))
    return Change(float(whole[0]), averaged(resamples.weights(len(wide))) if len(wide) > 1 else None)


def interval_of(draws: Array | None) -> list[float] | None:
    """Return the 95% interval of resampled values; None if there are none."""
    if draws is None:
        return None
    interval = percentile_interval(draws)
    return [interval.low, interval.high]


def _times_chance(controlling: Change | None, chance: Change | None) -> dict[str, Any]:
    """Return how many times as far as random sets a controlling set moves its concept."""
    if controlling is None or chance is None or not chance.value > 0:
        return {"times_chance": None, "times_chance_ci": None}
    ratio = None if controlling.draws is None or chance.draws is None else controlling.draws / chance.draws
    return {"times_chance": controlling.value / chance.value, "times_chance_ci": interval_of(ratio)}


def way_rows(rows: pd.DataFrame, resamples: ClassResamples) -> list[dict[str, Any]]:
    """Return the means over concepts and classes of each way at each strength, with intervals.

    Only concepts with a controlling set are averaged, so that all ways are about the same ones.
    """
    measures = [name for name in MEASURES if name != "change_size"]
    entries = []
    for (space, way, strength), part in with_sets(rows).groupby(["space", "way", "strength"], sort=False):
        change = mean_change(part, resamples)
        entry = {"space": space, "way": way, "strength": strength, "change_size": change.value}
        by_class = part.groupby("class_id")[measures].mean()
        entries.append({**entry, "change_size_ci": change.interval, **resamples.means(by_class)})
    return latent_first(entries)


def with_sets(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of concepts that have both a sequential and an optimised set, or one if only one is searched."""
    searched = [way for way in SETS if (rows.way == way).any()]
    if not searched:
        return rows.iloc[:0]
    n_ways = rows[rows.way.isin(searched)].groupby(["space", "concept"]).way.nunique()
    controlled = n_ways[n_ways == len(searched)].index
    return rows[pd.MultiIndex.from_frame(rows[["space", "concept"]]).isin(controlled)]


def changes_at_equal_realism(rows: pd.DataFrame, resamples: ClassResamples) -> list[dict[str, Any]]:
    """Return how far each way moves its concept before a share of realism is lost, and how long its step is then.

    Means over concepts and classes of change and realism are interpolated between strengths; a way that loses less is
    counted at its longest step, and ``reached`` says so.
    """
    known = with_sets(rows).dropna(subset=["realism"])
    entries = []
    for (space, way), part in known.groupby(["space", "way"], sort=False):
        by_strength = [group for _, group in part.groupby("strength")]
        strengths = np.array([0.0, *sorted(part.strength.unique())])
        changes = [mean_change(group, resamples) for group in by_strength]
        columns = [part.groupby("class_id").realism_before.mean()]
        columns += [group.groupby("class_id").realism.mean() for group in by_strength]
        realism = pd.concat(columns, axis=1).to_numpy(dtype=np.float64)
        whole = _crossing(strengths, realism.mean(axis=0), np.array([0.0, *(change.value for change in changes)]))
        draws = None
        if len(realism) > 1:
            resampled = resamples.weights(len(realism)) @ realism
            by_draw = [change.draws for change in changes if change.draws is not None]
            moved = np.stack([np.zeros(len(resampled)), *by_draw], axis=1)
            draws = np.array([_crossing(strengths, *means)[:2] for means in zip(resampled, moved, strict=True)])
        entries.append(
            {
                "space": space,
                "way": way,
                "change_size": whole[0],
                "change_size_ci": None if draws is None else interval_of(draws[:, 0]),
                "strength": whole[1],
                "strength_ci": None if draws is None else interval_of(draws[:, 1]),
                "reached": whole[2],
            }
        )
    return latent_first(entries)


def latent_first(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Sort entries by space, those of the latent code first, then by way and strength where they have these."""
    ways = {way: place for place, way in enumerate(WAYS)}
    return sorted(
        entries,
        key=lambda entry: (entry["space"] != "latent", ways.get(entry.get("way", ""), 0), entry.get("strength", 0)),
    )


def _crossing(strengths: Array, realism: Array, change: Array) -> tuple[float, float, bool]:
    """Return change and strength where the realism first falls to its limit, and whether it does."""
    limit = (1 - REALISM_LOSS) * realism[0]
    below = np.flatnonzero(realism < limit)
    if not len(below):
        return float(change[-1]), float(strengths[-1]), False
    place = int(below[0])
    share = (realism[place - 1] - limit) / (realism[place - 1] - realism[place])
    ends = ((values[place - 1], values[place]) for values in (change, strengths))
    value, strength = (float(low + share * (high - low)) for low, high in ends)
    return value, strength, True


def rescoring_matrices(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Return, for each space and controlling set, the mean change of every concept by the set of every concept."""
    matrices = []
    for (space, way), part in rows.groupby(["space", "way"], sort=False):
        concepts = list(dict.fromkeys(part.scored_concept))
        wide = part.pivot_table(index="concept", columns="scored_concept", values="change_size", sort=False)
        moved = [concept for concept in concepts if concept in wide.index]
        scored = [concept for concept in concepts if concept in wide.columns]
        values = wide.loc[moved, scored].to_numpy().tolist()
        matrices.append({"space": space, "way": way, "moved": moved, "scored": scored, "values": values})
    return latent_first(matrices)


def translation_rows(rows: pd.DataFrame, resamples: ClassResamples) -> list[dict[str, Any]]:
    """Return mean flip rates over classes by way, number of embedding dimensions and length of latent steps."""
    entries = []
    for way, by in STEPPED_BY.items():
        for _, group in rows[rows.way == way].groupby(by):
            by_class = group.groupby("class_id")[["flip_rate", "target_probability", "flip_rate_before"]].mean()
            n_dimensions = float(group.n_dimensions.mean())
            strength = float(group.strength.mean())
            entry = {"way": way, "n_dimensions": n_dimensions, "strength": strength, "n_classes": len(by_class)}
            entries.append({**entry, **resamples.means(by_class)})
    return entries


def set_claim(entry: Mapping[str, Any]) -> Claim:
    """Decide whether every controlling set moves its concept several times as far as random sets of its size do.

    Args:
        entry: ``directions`` of the summary.
    """
    controlled = [row for row in entry["concepts"] if any(row["n_dimensions"].values())]
    known = [row for row in controlled if row["times_chance"] is not None]
    enough = [row for row in known if row["times_chance"] >= TIMES_CHANCE]
    sure = [row for row in known if row["times_chance_ci"] and row["times_chance_ci"][0] > 1]
    verdict = OPEN
    if known and entry["n_classes"] >= FEWEST_CLASSES:
        if len(enough) == len(sure) == len(known):
            verdict = HOLDS
        elif len(enough) < len(known) / 2:
            verdict = FAILS
    typical = f"; the median ratio is {np.median([row['times_chance'] for row in known]):.1f}" if known else ""
    n_unsure = len(known) - len(sure)
    unsure = ""
    if n_unsure:
        words = "interval of 1 ratio includes" if n_unsure == 1 else f"intervals of {n_unsure} ratios include"
        unsure = f" The 95% {words} 1."
    evidence = (
        f"In {len(enough)} of {len(known)} pairs of concept and space with a controlling set, it moves the concept at "
        f"least {TIMES_CHANCE:g} times as far as random sets of its size{typical}.{unsure} In "
        f"{counted(len(entry['concepts']) - len(controlled), 'pair')} nothing controls the concept."
    )
    return Claim(
        f"Controlling sets move their concept at least {TIMES_CHANCE:g} times as far as random sets of the same size.",
        verdict,
        evidence,
        "Li et al. 2020",
    )
