"""Causal effects on concepts in the summary and the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from cawa_core.rendering.claims import Claim
from cawa_core.rendering.figures import SIZE, Picture, draw, legend_above
from cawa_core.rendering.html_tables import records, table_of
from cawa_core.rendering.palette import light
from cawa_core.rendering.sections import Section, Tables, class_names
from cawa_core.statistics.verdicts import SMALLEST_GAIN
from workflows.analyses.concept_effects import (
    AWARE,
    CONCEPT_EFFECTS,
    CONCEPT_EFFECTS_TABLE,
    INSERTION,
    INSERTION_CONTEXTS_TABLE,
    OPTIMISED,
    OVERLAP,
    RANDOM,
    RANKINGS,
    REMOVAL,
    ConceptEffectOptions,
)
from workflows.interface import Content, Findings, Results
from workflows.results.class_resamples import ClassResamples, typical_value, typical_verdict, typical_words

WORDS = {OPTIMISED: "optimised", OVERLAP: "highest IoU", AWARE: "most class-aware", RANDOM: "random"}
COLOURS = dict(zip(RANKINGS, ("blue", "amber", "red", "muted"), strict=True))
"""Colour of each line, by its name in the palette."""
SHOWN_CURVES = 6
"""Concepts whose curves the page shows, those that most classes show."""
FEWEST_IMAGES = 5
"""Images with a context below which the page leaves it out."""


class ConceptEffectsResults(Results[ConceptEffectOptions]):
    """Shares of concepts that are left without units, and that appear with them."""

    def summary(self, findings: Findings) -> Content:
        """Return the shares of each concept, and what decides the claims."""
        table = findings.manifest.table(CONCEPT_EFFECTS_TABLE.name)
        if table.empty:
            return {"concept_effects": None}
        contexts = findings.manifest.table(INSERTION_CONTEXTS_TABLE.name)
        shares = shares_by_class(table)
        return {
            "concept_effects": {
                "shares": mean_shares(shares, findings.resamples),
                "gains": removal_gains(shares),
                "contexts": context_shares(contexts, findings.resamples),
            }
        }

    def claims(self, summary: Content) -> Sequence[Claim]:
        """Decide whether optimised sets remove more of concepts than overlap does, and this more than chance."""
        entry = summary.get("concept_effects")
        return [] if not entry else effect_claims(entry["gains"], class_names(summary))

    def sections(self, tables: Tables, summary: Content) -> Sequence[Section]:  # noqa: ARG002
        """Build the section."""
        entry = summary.get("concept_effects")
        return [effect_section(entry)] if entry else []


def shares_by_class(table: pd.DataFrame) -> pd.DataFrame:
    """Return the share of a concept that is left, or of the squares that show it, for each class.

    Args:
        table: ``concept_effects``.

    Returns:
        Columns ``concept``, ``change``, ``ranking``, ``n_units``, ``class_id`` and ``share``; the mean of random sets.
    """
    whole = np.where(table.change == REMOVAL, table.before, table.pixels)
    shares = table.assign(share=table.after / whole)
    keys = ["concept", "change", "ranking", "n_units", "class_id"]
    return shares.groupby(keys)["share"].mean().reset_index()


def mean_shares(shares: pd.DataFrame, resamples: ClassResamples) -> list[dict[str, Any]]:
    """Return the mean share over classes, with its interval, of each concept, change, ranking and number of units."""
    by = ["concept", "change", "ranking", "n_units"]
    return [
        {**records(part[by].head(1))[0], "n_classes": len(part), **resamples.means(part[["share"]])}
        for _, part in shares.groupby(by)
    ]


def removal_gains(shares: pd.DataFrame) -> dict[str, Any]:
    """Compare the rankings by what is left without their units: mean over concepts and numbers of units of each class.

    Returns:
        For ``optimised`` over ``overlap`` and ``overlap`` over ``random``: the typical difference over classes, and in
        how many concepts less is left on average; None if there is nothing to compare.
    """
    removed = shares[shares.change == REMOVAL]
    by_ranking = removed.pivot(index=["concept", "n_units", "class_id"], columns="ranking", values="share")
    gains: dict[str, Any] = {}
    for better, worse in ((OPTIMISED, OVERLAP), (OVERLAP, RANDOM)):
        if better not in by_ranking or worse not in by_ranking:
            gains[f"{better} over {worse}"] = None
            continue
        gained = (by_ranking[worse] - by_ranking[better]).dropna()
        by_concept = gained.groupby("concept").mean()
        gains[f"{better} over {worse}"] = {
            "typical_gain": typical_value(gained.groupby("class_id").mean()),
            "concepts": len(by_concept),
            "concepts_with_gain": int((by_concept > 0).sum()),
        }
    return gains


def context_shares(contexts: pd.DataFrame, resamples: ClassResamples) -> list[dict[str, Any]]:
    """Return what appears where a concept is inserted, by what the square showed before: means over classes.

    Args:
        contexts: ``insertion_contexts``.
        resamples: bootstrap over classes.
    """
    shares = contexts.assign(share=contexts.after / contexts.pixels)
    return [
        {
            **records(part[["concept", "context"]].head(1))[0],
            "n_images": int(part.n_images.sum()),
            **resamples.means(part[["share"]]),
        }
        for _, part in shares.groupby(["concept", "context"])
    ]


def effect_claims(gains: Mapping[str, Any], names: Mapping[int, str]) -> list[Claim]:
    """Decide the two comparisons of rankings."""
    statements = {
        f"{OPTIMISED} over {OVERLAP}": "Optimised sets of units remove more of a concept than units of highest IoU.",
        f"{OVERLAP} over {RANDOM}": "Units of highest IoU with a concept remove more of it than random units.",
    }
    claims = []
    for key, statement in statements.items():
        gain = gains[key]
        if gain is None:
            continue
        evidence = (
            "Difference in the share of a concept's pixels that is left, mean over concepts and numbers of units: "
            f"{typical_words(gain['typical_gain'], names)} over classes; less is left in {gain['concepts_with_gain']} "
            f"of {gain['concepts']} concepts."
        )
        verdict = typical_verdict(gain["typical_gain"], 1, SMALLEST_GAIN)
        claims.append(Claim(statement, verdict, evidence, "Bau et al. 2019, Fig. 4"))
    return claims


def effect_section(entry: Mapping[str, Any]) -> Section:
    """Build the section.

    Args:
        entry: ``concept_effects`` of the summary.
    """
    shares = entry["shares"]
    removed = [row for row in shares if row["change"] == REMOVAL]
    inserted = [row for row in shares if row["change"] == INSERTION]
    lead = (
        "Units are changed together, whatever site they are at, and a segmenter measures the concept in the images "
        "before and after. Overlap shows that a unit is on where a concept is; what is left of the concept without it "
        "shows that it draws it. Units are taken in four orders: by an optimised set of weights, by IoU, by category "
        "awareness of the class, and at random. Removed units are zero everywhere. Inserted units get, in a square "
        "without the concept, the values that they have where it is. More than 100% left means that something else now "
        "looks like the concept. Sets are chosen on other images, of all classes."
    )
    tables = [table_of("Share of a concept's pixels left without units, in %", *_wide(removed))]
    if inserted:
        number = inserted[0]["n_units"]
        caption = f"Share of the square that shows a concept after {number} of its units are inserted, in %"
        tables.append(table_of(caption, *_wide(inserted)))
    contexts = [row for row in entry["contexts"] if row["n_images"] >= FEWEST_IMAGES]
    if contexts:
        caption = "What appears of an inserted concept, by what the square showed before, in % of the square"
        tables.append(table_of(caption, *_by_context(contexts)))
    return Section(CONCEPT_EFFECTS.name, CONCEPT_EFFECTS.title, lead, tuple(removal_curves(removed)), tuple(tables))


def _wide(rows: Sequence[Mapping[str, Any]]) -> tuple[dict[str, str], list[dict[str, Any]]]:
    """Return one row per concept and number of units, with a column per ranking and its interval."""
    rankings = [ranking for ranking in RANKINGS if any(row["ranking"] == ranking for row in rows)]
    columns = {"concept": "concept", "n_units": "units"} | {ranking: WORDS[ranking] for ranking in rankings}
    wide: dict[tuple[str, int], dict[str, Any]] = {}
    for row in rows:
        place = wide.setdefault((row["concept"], row["n_units"]), {name: row[name] for name in ("concept", "n_units")})
        place[row["ranking"]] = _with_interval(row)
    return columns | {"n_classes": "classes"}, [
        {**place, "n_classes": next(row["n_classes"] for row in rows if row["concept"] == place["concept"])}
        for _, place in sorted(wide.items())
    ]


def _with_interval(row: Mapping[str, Any]) -> str:
    value = f"{100 * row['share']:.1f}"
    if not row["share_ci"]:
        return value
    low, high = row["share_ci"]
    return f"{value} [{100 * low:.1f}, {100 * high:.1f}]"


def _by_context(contexts: Sequence[Mapping[str, Any]]) -> tuple[dict[str, str], list[dict[str, Any]]]:
    """Return one row per concept, with a column per context."""
    names = sorted({row["context"] for row in contexts})
    rows: dict[str, dict[str, Any]] = {}
    for row in contexts:
        place = rows.setdefault(row["concept"], {"concept": row["concept"]})
        place[row["context"]] = f"{_with_interval(row)} ({row['n_images']})"
    columns = {"concept": "inserted"} | {name: f"into {name} (images)" for name in names}
    return columns, [{**dict.fromkeys(names, ""), **rows[concept]} for concept in sorted(rows)]


def removal_curves(removed: Sequence[Mapping[str, Any]]) -> list[Picture]:
    """Draw what is left of each of the concepts that most classes show, against the number of removed units."""
    n_classes = {row["concept"]: row["n_classes"] for row in removed}
    concepts = sorted(n_classes, key=lambda concept: (-n_classes[concept], concept))[:SHOWN_CURVES]
    return [
        _curves(concept, [row for row in removed if row["concept"] == concept], place)
        for place, concept in enumerate(sorted(concepts))
    ]


def _curves(concept: str, rows: Sequence[Mapping[str, Any]], place: int) -> Picture:
    def paint(axes: Axes) -> None:
        for ranking in RANKINGS:
            known = sorted((row for row in rows if row["ranking"] == ranking), key=lambda row: row["n_units"])
            if not known:
                continue
            x = [row["n_units"] for row in known]
            colour = light(COLOURS[ranking])
            axes.plot(x, [100 * row["share"] for row in known], "o-", color=colour, markersize=4, label=WORDS[ranking])
            ends = [[100 * end for end in row["share_ci"] or (row["share"], row["share"])] for row in known]
            axes.fill_between(x, *np.transpose(ends), color=colour, alpha=0.15, linewidth=0)
        axes.set_xscale("log", base=2)
        sizes = sorted({row["n_units"] for row in rows})
        axes.set_xticks(sizes, [str(size) for size in sizes])
        axes.minorticks_off()
        axes.set(title=f"{concept} left", xlabel="units removed", ylabel="% of its pixels")
        axes.set_ylim(bottom=0)
        legend_above(axes, 0.3, "upper center", columns=2)

    return draw(f"concept-effects-{place}", f"Share of {concept} left without units, by ranking", SIZE, paint)
