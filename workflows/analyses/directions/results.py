"""Directions in the summary and the report: how far each way moves a concept, at what cost, and what else it moves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from numpy.typing import NDArray

from cawa_core.rendering.claims import Claim
from cawa_core.rendering.figures import SIZE, Picture, draw, legend_above
from cawa_core.rendering.html_tables import HtmlTable, number_with_interval, records, table_of
from cawa_core.rendering.palette import light
from cawa_core.rendering.sections import Section, Tables
from cawa_core.statistics.intervals import percentile_interval
from cawa_core.statistics.verdicts import FAILS, HOLDS, OPEN
from cawa_core.tables import Manifest
from workflows.analyses.directions import (
    BOTTOM,
    CONTROLLING_SETS_TABLE,
    DIRECTION_RESCORING_TABLE,
    DIRECTIONS,
    DIRECTIONS_TABLE,
    GANSPACE,
    OPTIMISED,
    RANDOM,
    SEFA,
    SEQUENTIAL,
    SETS,
    TRANSLATION_WAYS,
    TRANSLATIONS_TABLE,
    WAY_WORDS,
    WAYS,
    DirectionOptions,
    chosen_strength,
)
from workflows.analyses.latents.results import shortened
from workflows.interface import Content, Findings, Results
from workflows.results.class_resamples import ClassResamples

Array = NDArray[np.float64]

MEASURES = {
    "change_size": "change of the concept",
    "off_target": "change of other concepts",
    "pixel_change": "change of a pixel",
    "locality": "locality",
    "class_retention": "class retention",
    "realism": "realism",
}
"""Columns of the table ``directions`` that are averaged over concepts, in words."""
REALISM_LOSS = 0.05
"""Share of the realism of unchanged images that is lost where ways are compared."""
TIMES_CHANCE = 3.0
"""How many times as far as random sets controlling sets are claimed to move their concept."""
SHORT_WORDS = {
    SEQUENTIAL: "sequential",
    OPTIMISED: "optimised",
    BOTTOM: "smallest effects",
    RANDOM: "random",
    SEFA: "SeFa",
    GANSPACE: "GANSpace",
}
"""Names of the ways in the legend of a figure."""
WAY_COLOURS = dict(zip(WAYS, ("blue", "green", "pink", "muted", "amber", "violet"), strict=True))
FULL_COLOUR = 1.0
"""Change, in standard deviations, that the matrix draws in full colour."""


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
        way ``<way>``, the mean change over classes in standard deviations, with its interval (for ``random``, the mean
        over random sets of the size of that mean); and ``times_chance`` of the larger controlling set.
    """
    chosen = rows[np.isclose(rows.strength, strength)]
    entries = []
    for (space, concept), part in chosen.groupby(["space", "concept"], sort=False):
        wide = part.pivot_table(index="class_id", columns=["way", "draw"], values="change_size")
        weights = resamples.weights(len(wide)) if len(wide) > 1 else None
        name, place = str(concept), str(space)
        means = {way: _signed(wide[way].to_numpy(), weights) for way in wide.columns.get_level_values("way").unique()}
        entry: dict[str, Any] = {
            "concept": name,
            "space": place,
            "n_dimensions": {way: sizes.get((name, place, way)) for way in SETS},
        }
        for way in WAYS:
            value, draws = means.get(way, (None, None))
            entry |= {way: value, f"{way}_ci": _interval(draws)}
        entry |= _times_chance({way: means[way] for way in SETS if way in means}, means.get(RANDOM))
        entries.append(entry)
    return latent_first(entries)


def _signed(values: Array, weights: Array | None) -> tuple[float, Array | None]:
    """Return the mean over classes of a way, and its resamples; of several random sets, the mean size of their means.

    Args:
        values: changes ``[classes, draws]``.
        weights: bootstrap weights of classes ``[resamples, classes]``.
    """
    means = values.mean(axis=0)
    resampled = None if weights is None else weights @ values
    if values.shape[1] == 1:
        return float(means[0]), None if resampled is None else resampled[:, 0]
    return float(np.abs(means).mean()), None if resampled is None else np.abs(resampled).mean(axis=1)


def _interval(draws: Array | None) -> list[float] | None:
    if draws is None:
        return None
    interval = percentile_interval(draws)
    return [interval.low, interval.high]


def _times_chance(
    sets: Mapping[str, tuple[float, Array | None]], chance: tuple[float, Array | None] | None
) -> dict[str, Any]:
    """Return how many times as far as random sets the better controlling set moves the concept."""
    unknown = {"times_chance": None, "times_chance_ci": None}
    if not sets or chance is None or not chance[0] > 0:
        return unknown
    value, draws = max(sets.values(), key=lambda entry: entry[0])
    ratio = None if draws is None or chance[1] is None else draws / chance[1]
    return {"times_chance": value / chance[0], "times_chance_ci": _interval(ratio)}


def way_rows(rows: pd.DataFrame, resamples: ClassResamples) -> list[dict[str, Any]]:
    """Return the means over concepts and classes of each way at each strength, with intervals.

    Only concepts with a controlling set are averaged, so that all ways are about the same ones.
    """
    controlled = with_sets(rows)
    entries = []
    for (space, way, strength), part in controlled.groupby(["space", "way", "strength"], sort=False):
        by_class = _sized(part).groupby("class_id")[list(MEASURES)].mean()
        entries.append({"space": space, "way": way, "strength": strength, **resamples.means(by_class)})
    return latent_first(entries)


def with_sets(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of concepts that have both a sequential and an optimised set, or one if only one is searched."""
    searched = [way for way in SETS if (rows.way == way).any()]
    if not searched:
        return rows.iloc[:0]
    n_ways = rows[rows.way.isin(searched)].groupby(["space", "concept"]).way.nunique()
    controlled = n_ways[n_ways == len(searched)].index
    return rows[pd.MultiIndex.from_frame(rows[["space", "concept"]]).isin(controlled)]


def _sized(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows with the size of the change where a way has no sign of its own, as random sets have none."""
    unsigned = rows.way == RANDOM
    return rows.assign(change_size=rows.change_size.abs().where(unsigned, rows.change_size))


def changes_at_equal_realism(rows: pd.DataFrame, resamples: ClassResamples) -> list[dict[str, Any]]:
    """Return how far each way moves its concept before a share of realism is lost, and how long its step is then.

    Means over concepts of change and realism are interpolated between strengths; a way that loses less is counted at
    its longest step, and ``reached`` says so.
    """
    known = with_sets(rows).dropna(subset=["realism", "change_size"])
    entries = []
    for (space, way), part in known.groupby(["space", "way"], sort=False):
        by_class = _sized(part).pivot_table(
            index="class_id", columns="strength", values=["change_size", "realism", "realism_before"]
        )
        strengths = np.array([0.0, *by_class["realism"].columns])
        before = by_class["realism_before"].to_numpy()[:, :1]
        realism = np.hstack([before, by_class["realism"].to_numpy()])
        change = np.hstack([np.zeros_like(before), by_class["change_size"].to_numpy()])
        whole = _crossing(strengths, realism.mean(axis=0), change.mean(axis=0))
        weights = resamples.weights(len(by_class)) if len(by_class) > 1 else None
        draws = (
            None
            if weights is None
            else np.array(
                [_crossing(strengths, *means)[:2] for means in zip(weights @ realism, weights @ change, strict=True)]
            )
        )
        entries.append(
            {
                "space": space,
                "way": way,
                "change_size": whole[0],
                "change_size_ci": None if draws is None else _interval(draws[:, 0]),
                "strength": whole[1],
                "strength_ci": None if draws is None else _interval(draws[:, 1]),
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
    for way in TRANSLATION_WAYS:
        part = rows[rows.way == way]
        by = "strength" if "latent" in way else "n_dimensions"
        for _, group in part.groupby(by):
            by_class = group.groupby("class_id")[["flip_rate", "target_probability", "flip_rate_before"]].mean()
            n_dimensions = float(group.n_dimensions.mean())
            strength = float(group.strength.mean())
            entry = {"way": way, "n_dimensions": n_dimensions, "strength": strength, "n_classes": len(by_class)}
            entries.append({**entry, **resamples.means(by_class)})
    return entries


def set_claim(entry: Mapping[str, Any]) -> Claim:
    """Decide whether every controlling set moves its concept several times as far as random sets do.

    Args:
        entry: ``directions`` of the summary.
    """
    known = [row for row in entry["concepts"] if row["times_chance"] is not None]
    without = len(entry["concepts"]) - len(known)
    enough = [row for row in known if row["times_chance"] >= TIMES_CHANCE]
    sure = [row for row in known if row["times_chance_ci"] and row["times_chance_ci"][0] > 1]
    if not known:
        verdict = OPEN
    elif len(enough) == len(known) and len(sure) == len(known):
        verdict = HOLDS
    else:
        verdict = FAILS if len(enough) < len(known) / 2 else OPEN
    typical = f"; median {np.median([row['times_chance'] for row in known]):.1f} times as far" if known else ""
    evidence = (
        f"{len(enough)} of {len(known)} concepts with a controlling set, counted in each space, move at least "
        f"{TIMES_CHANCE:g} times as far as by random sets of the same size{typical}. In {without} "
        "case" + ("s" * (without != 1)) + " no set controls the concept."
    )
    return Claim(
        f"Controlling sets move their concept at least {TIMES_CHANCE:g} times as far as random sets of the same size.",
        verdict,
        evidence,
        "Li et al. 2020",
    )


def directions_section(entry: Mapping[str, Any]) -> Section:
    """Build the section.

    Args:
        entry: ``directions`` of the summary.
    """
    lead = (
        "A controlling set is a small, signed and weighted set of dimensions that moves a concept. Sequential sets add "
        "dimensions by the size of their effect until they move the concept 90% as far as all dimensions with a "
        "significant effect; optimised sets are sparse and found by gradient. A concept that no set moves on other "
        "images has none. SeFa and GANSpace know no concept: for each, the best of their ten leading directions is "
        "taken. All directions have norm 1, so that steps are equally long. Changes are in standard deviations of the "
        f"concept over unchanged images of the class; where nothing else is said, after a step of "
        f"{entry['strength']:g} standard deviations. In brackets: 95% intervals over classes."
    )
    pictures = [way_curves(space, entry["ways"]) for space in _spaces(entry["ways"])]
    pictures += [rescoring_picture(matrix) for matrix in entry["rescoring"]]
    tables = [_concept_table(entry), _way_table(entry)]
    if entry["at_equal_realism"]:
        tables.append(_realism_table(entry["at_equal_realism"]))
    if entry["translations"]:
        tables.append(_translation_table(entry["translations"]))
    return Section(DIRECTIONS.name, DIRECTIONS.title, lead, tuple(pictures), tuple(tables))


def _spaces(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(row["space"] for row in rows))


def _concept_table(entry: Mapping[str, Any]) -> HtmlTable:
    ways = [way for way in WAYS if any(row[way] is not None for row in entry["concepts"])]
    rows = [
        {
            "concept": row["concept"],
            "space": row["space"],
            "sizes": " / ".join(
                "none" if not row["n_dimensions"][way] else str(row["n_dimensions"][way]) for way in SETS
            ),
            **{way: number_with_interval(row[way], row[f"{way}_ci"], 2) for way in ways},
            "times_chance": number_with_interval(row["times_chance"], row["times_chance_ci"], 1),
        }
        for row in entry["concepts"]
    ]
    columns = {"concept": "concept", "space": "space", "sizes": "dimensions of the sets"}
    columns |= {way: WAY_WORDS[way] for way in ways} | {"times_chance": "times a random set"}
    return table_of(f"Change of each concept after a step of {entry['strength']:g}", columns, rows, 2)


def _way_table(entry: Mapping[str, Any]) -> HtmlTable:
    rows = [
        {
            "space": row["space"],
            "way": WAY_WORDS[row["way"]],
            "strength": row["strength"],
            **{name: number_with_interval(row[name], row[f"{name}_ci"], 3) for name in MEASURES},
        }
        for row in entry["ways"]
    ]
    columns = {"space": "space", "way": "way", "strength": "step", **MEASURES}
    return table_of("Means over the concepts that both kinds of sets control", columns, rows, 1)


def _realism_table(rows: Sequence[Mapping[str, Any]]) -> HtmlTable:
    cells = [
        {
            "space": row["space"],
            "way": WAY_WORDS[row["way"]],
            "change": number_with_interval(row["change_size"], row["change_size_ci"], 2),
            "strength": number_with_interval(row["strength"], row["strength_ci"], 2),
            "reached": "yes" if row["reached"] else "no, at the longest step",
        }
        for row in rows
    ]
    columns = {
        "space": "space",
        "way": "way",
        "change": "change of the concept",
        "strength": "length of the step",
        "reached": "as much realism is lost",
    }
    return table_of(f"Where {REALISM_LOSS:.0%} of the realism is lost", columns, cells)


def _translation_table(rows: Sequence[Mapping[str, Any]]) -> HtmlTable:
    cells = [
        {
            "way": row["way"],
            "n_dimensions": round(row["n_dimensions"]),
            "strength": row["strength"],
            "flip": number_with_interval(row["flip_rate"], row["flip_rate_ci"], 3),
            "probability": number_with_interval(row["target_probability"], row["target_probability_ci"], 3),
        }
        for row in rows
    ]
    columns = {
        "way": "dimensions",
        "n_dimensions": "how many, on average",
        "strength": "step",
        "flip": "share of images taken for the target class",
        "probability": "probability of the target class",
    }
    return table_of("Translation of each class into the class with the closest embedding", columns, cells, 1)


def way_curves(space: str, rows: Sequence[Mapping[str, Any]]) -> Picture:
    """Draw the mean change of concepts by the length of the step, for every way."""

    def paint(axes: Axes) -> None:
        for way in WAYS:
            known = [row for row in rows if row["way"] == way and row["space"] == space]
            known = [row for row in known if row["change_size"] is not None]
            if not known:
                continue
            x = [0.0, *(row["strength"] for row in known)]
            y = [0.0, *(row["change_size"] for row in known)]
            colour = light(WAY_COLOURS[way])
            axes.plot(x, y, "o-", color=colour, markersize=4, label=SHORT_WORDS[way])
            ends = [[0.0, 0.0], *(row["change_size_ci"] or [row["change_size"]] * 2 for row in known)]
            axes.fill_between(x, *np.transpose(ends), color=colour, alpha=0.15, linewidth=0)
        axes.axhline(0, color=light("rule"), linewidth=0.8, zorder=0)
        axes.set(title=f"Steps in {space} dimensions", xlabel="length of the step", ylabel="change of the concept")
        legend_above(axes, 0.5, "upper center", columns=2)

    alt = f"Mean change of concepts by the length of a step in {space} dimensions, for every way"
    return draw(f"directions-{space}", alt, SIZE, paint)


def rescoring_picture(matrix: Mapping[str, Any]) -> Picture:
    """Draw the change of every concept (columns) by the set of every concept (rows); blue rises, red falls."""
    values = np.array(matrix["values"], dtype=np.float64).reshape(len(matrix["moved"]), len(matrix["scored"]))
    title = f"Re-scoring: {matrix['way']} sets, {matrix['space']}"

    def paint(axes: Axes) -> None:
        colours = np.empty((*values.shape, 4))
        colours[..., :3] = np.where((values >= 0)[..., None], to_rgb(light("blue")), to_rgb(light("red")))
        colours[..., 3] = np.clip(np.abs(np.nan_to_num(values)) / FULL_COLOUR, 0, 1)
        axes.imshow(colours, aspect="auto", interpolation="nearest")
        axes.set_yticks(range(len(matrix["moved"])), [shortened(name) for name in matrix["moved"]], fontsize=6)
        axes.set_xticks(
            range(len(matrix["scored"])), [shortened(name) for name in matrix["scored"]], fontsize=6, rotation=90
        )
        axes.set_title(title)

    alt = f"{title}: mean change of each concept (columns) by the set of each concept (rows)"
    height = 2.2 + 0.13 * len(matrix["moved"])
    return draw(f"directions-{matrix['space']}-{matrix['way']}", alt, (SIZE[0] * 1.2, height), paint)
