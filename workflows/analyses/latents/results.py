"""Effects of dimensions in the summary and the report, and how well closed forms predict them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from numpy.typing import NDArray

from cawa_core.rendering.claims import Claim
from cawa_core.rendering.figures import SIZE, Picture, draw, legend_above, legible
from cawa_core.rendering.html_tables import number_with_interval, records, table_of
from cawa_core.rendering.palette import light
from cawa_core.rendering.sections import Section, Tables, class_names
from cawa_core.statistics.correlation import spearman
from cawa_core.statistics.many_tests import adjusted
from cawa_core.statistics.pooling import pooled
from cawa_core.statistics.verdicts import SIGNIFICANT, SMALLEST_CORRELATION
from workflows.analyses.latents import (
    LATENT_PREDICTIONS_TABLE,
    LATENTS,
    LATENTS_TABLE,
    TARGETS,
    LatentOptions,
)
from workflows.interface import Content, Findings, Results
from workflows.results.class_resamples import (
    ClassResamples,
    mean_of_known,
    typical_value,
    typical_verdict,
    typical_words,
)

Array = NDArray[np.float64]

LISTED = 3
"""Dimensions of the largest effects on a concept that the summary lists, per space."""
SITE_COLOURS = {"latent": "blue", "embedding": "amber"}
LONGEST_LABEL = 22
"""Letters of the longest name on the axis of a figure."""
FULL_SHARE = 0.99
"""Share of the effects of a space that the figure does not draw in full colour."""


class LatentsResults(Results[LatentOptions]):
    """Dimensions with an effect on each concept, and predictions of effects."""

    def summary(self, findings: Findings) -> Content:
        """Return the effects over all classes, and the predictions by site."""
        rows = findings.manifest.table(LATENTS_TABLE.name)
        if rows.empty:
            return {"latents": None}
        predictions = findings.manifest.table(LATENT_PREDICTIONS_TABLE.name)
        return {
            "latents": {
                **effects_summary(rows, findings.resamples),
                "predictions": predictions_summary(predictions, findings.resamples),
                "predicted_activations": {
                    space: typical_value(values.groupby("class_id").rank_correlation.mean())
                    for space, values in predictions[predictions.target == "activations"].groupby("space")
                },
            }
        }

    def claims(self, summary: Content) -> Sequence[Claim]:
        """Decide whether closed forms predict the channels that a dimension drives."""
        entry = summary.get("latents")
        if not entry:
            return []
        return [
            prediction_claim(space, value, class_names(summary))
            for space, value in entry["predicted_activations"].items()
        ]

    def sections(self, tables: Tables, summary: Content) -> Sequence[Section]:  # noqa: ARG002
        """Build the section."""
        entry = summary.get("latents")
        return [latents_section(entry)] if entry else []


def effects_summary(rows: pd.DataFrame, resamples: ClassResamples) -> dict[str, Any]:
    """Pool the effects over classes.

    Returns:
        ``n_classes``; ``n_samples``, latents per class; ``dimensions``, indices of those of each space;
        ``concepts``: for each concept and space, the number of dimensions with a significant effect (false discovery
        rate over all dimensions and concepts) and those of the largest effects; ``effect_sizes``: mean effect size of
        all dimensions by space and concept; ``observed_agreement``: rank correlation, over latent dimensions and
        concepts, of the effect size with the observational correlation.
    """
    keys = ["space", "dimension", "concept"]
    wide = {
        name: rows.pivot(index="class_id", columns=keys, values=name)
        for name in ("effect", "effect_stderr", "effect_size", "rank_correlation", "observed_correlation")
    }
    n_samples = rows.groupby("class_id").n_samples.first().to_numpy()
    p_values = pooled(wide["effect"].to_numpy(), wide["effect_stderr"].to_numpy(), n_samples)[2]
    means = pd.DataFrame({name: frame.mean() for name, frame in wide.items()})
    means["q_value"] = adjusted(p_values)
    flat = means.reset_index()
    sizes = wide["effect_size"]
    concepts = []
    for (space, concept), part in flat.groupby(["space", "concept"], sort=False):
        order = part.effect_size.abs().sort_values(ascending=False, kind="stable").index[:LISTED]
        listed = []
        for row in records(part.loc[order].dropna(subset=["effect_size"])):
            column = sizes[space, row["dimension"], concept]
            interval = resamples.means(pd.DataFrame({"effect_size": column}))["effect_size_ci"]
            names = ("dimension", "effect_size", "rank_correlation", "observed_correlation", "q_value")
            listed.append({**{name: row[name] for name in names}, "effect_size_ci": interval})
        n_significant = int((part.q_value <= SIGNIFICANT).sum())
        concepts.append({"concept": concept, "space": space, "n_significant": n_significant, "largest": listed})
    concepts.sort(key=lambda entry: entry["space"] != "latent")
    by_latent = flat[flat.space == "latent"].dropna(subset=["effect_size", "observed_correlation"])
    return {
        "n_classes": len(n_samples),
        "n_samples": int(n_samples.max()),
        "dimensions": {space: sorted(set(part.dimension)) for space, part in flat.groupby("space", sort=False)},
        "concepts": concepts,
        "effect_sizes": {
            space: {concept: group.effect_size.tolist() for concept, group in part.groupby("concept", sort=False)}
            for space, part in sorted(flat.groupby("space", sort=False), key=lambda each: each[0] != "latent")
        },
        "observed_agreement": mean_of_known(
            [spearman(by_latent.effect_size.to_numpy(), by_latent.observed_correlation.to_numpy())]
        )
        if len(by_latent)
        else None,
    }


def predictions_summary(rows: pd.DataFrame, resamples: ClassResamples) -> list[dict[str, Any]]:
    """Return mean rank correlations over classes with intervals, by site, space and target, with the mean null."""
    entries = [
        {
            **records(part[["site", "space", "target"]].head(1))[0],
            **resamples.means(part.set_index("class_id")[["rank_correlation"]]),
            "null_mean": mean_of_known(part.null_mean),
            "null_std": mean_of_known(part.null_std),
            "significant": mean_of_known((part.p_value.dropna() <= SIGNIFICANT).astype(float)),
        }
        for _, part in rows.groupby(["site", "space", "target"], sort=False)
    ]
    targets = list(TARGETS)
    return sorted(entries, key=lambda row: (row["space"] != "latent", targets.index(row["target"]), row["site"]))


def prediction_claim(space: str, value: Mapping[str, Any], names: Mapping[int, str]) -> Claim:
    """Decide whether derivatives of expected activations predict what dimensions of a space do to channels."""
    evidence = (
        "Rank correlation of the derivative of a channel's expected activation with the measured slope of its mean "
        f"features, over channels and dimensions, mean over sites: {typical_words(value, names)} over classes."
    )
    return Claim(
        f"Without a sample, closed forms predict which channels {_an(space)} {space} dimension drives.",
        typical_verdict(value, 1, SMALLEST_CORRELATION),
        evidence,
        "cawa, docs/latents.md",
    )


def _an(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"


def latents_section(entry: Mapping[str, Any]) -> Section:
    """Build the section.

    Args:
        entry: ``latents`` of the summary.
    """
    lead = (
        f"Each dimension is set to values of a grid in {entry['n_samples']} "
        f"latent{'s' * (entry['n_samples'] != 1)} per class while all others stay. The effect of a dimension on a "
        "concept is the mean slope of the concept's score, in standard deviations of the score over unchanged images "
        "per standard deviation of the dimension. Significant: false discovery rate of 5% over all dimensions and "
        "concepts. Embedding dimensions are those of the class embedding; their standard deviation is that over "
        "classes. In brackets: 95% intervals over classes."
    )
    if entry["observed_agreement"] is not None:
        lead += (
            " Rank correlation of effect sizes with correlations over unchanged images, which need no intervention: "
            f"{entry['observed_agreement']:.2f}."
        )
    pictures = [effect_map(space, sizes, entry["dimensions"][space]) for space, sizes in entry["effect_sizes"].items()]
    pictures += [
        prediction_lines(target, words, entry["predictions"])
        for target, words in TARGETS.items()
        if entry["predictions"]
    ]
    tables = (_concept_table(entry), *_prediction_tables(entry["predictions"]))
    return Section(LATENTS.name, LATENTS.title, lead, tuple(pictures), tables)


def _concept_table(entry: Mapping[str, Any]) -> Any:  # noqa: ANN401
    rows = []
    for concept in entry["concepts"]:
        largest = concept["largest"][0] if concept["largest"] else None
        rows.append(
            {
                "concept": concept["concept"],
                "space": concept["space"],
                "n_significant": concept["n_significant"],
                "dimension": largest and largest["dimension"],
                "size": number_with_interval(largest["effect_size"], largest["effect_size_ci"], 2) if largest else None,
                "rank": largest and largest["rank_correlation"],
                "observed": largest and largest["observed_correlation"],
            }
        )
    columns = {
        "concept": "concept",
        "space": "space",
        "n_significant": "dimensions with a significant effect",
        "dimension": "strongest dimension",
        "size": "its effect size",
        "rank": "its rank correlation",
        "observed": "over unchanged images",
    }
    return table_of("Dimensions that change a concept", columns, rows, 2)


def _prediction_tables(rows: Sequence[Mapping[str, Any]]) -> list[Any]:
    if not rows:
        return []
    cells = [
        {
            **row,
            "target": TARGETS[row["target"]],
            "value": number_with_interval(row["rank_correlation"], row["rank_correlation_ci"], 2),
            "significant": "–" if row["significant"] is None else f"{row['significant']:.0%}",
        }
        for row in rows
    ]
    columns = {
        "site": "site",
        "space": "space",
        "target": "prediction of",
        "value": "rank correlation",
        "null_std": "standard deviation by chance, one class",
        "significant": "classes with p ≤ 0.05",
    }
    return [table_of("Predictions by derivatives of expected activations", columns, cells, 2)]


def effect_map(space: str, sizes: Mapping[str, Sequence[float]], dimensions: Sequence[int]) -> Picture:
    """Draw the mean effect size of every dimension of a space on every concept; blue raises it, red lowers it."""
    values = np.array([sizes[concept] for concept in sizes], dtype=np.float64)
    title = f"Effects of {space} dimensions"
    full = float(np.nanquantile(np.abs(values), FULL_SHARE)) if np.isfinite(values).any() else 1.0

    def paint(axes: Axes) -> None:
        strength = np.clip(np.abs(np.nan_to_num(values)) / (full or 1.0), 0, 1)
        colours = np.empty((*values.shape, 4))
        colours[..., :3] = np.where((values >= 0)[..., None], to_rgb(light("blue")), to_rgb(light("red")))
        colours[..., 3] = strength
        axes.imshow(colours, aspect="auto", interpolation="nearest")
        places = legible(range(len(dimensions)))
        axes.set_xticks(places, [str(dimensions[place]) for place in places])
        axes.set_yticks(range(len(sizes)), [shortened(concept) for concept in sizes], fontsize=6)
        axes.set(title=title, xlabel=f"dimension; full colour: {full:.2g} standard deviations")

    alt = f"{title}: mean effect size of each dimension on each concept; blue raises the concept, red lowers it"
    return draw(f"latents-{space}", alt, (SIZE[0] * 1.4, 1.4 + 0.13 * len(sizes)), paint)


def shortened(concept: str) -> str:
    """Return the name of a concept for the axis of a figure; of a long one, the end."""
    return concept if len(concept) <= LONGEST_LABEL else f"…{concept[1 - LONGEST_LABEL :]}"


def prediction_lines(target: str, words: str, rows: Sequence[Mapping[str, Any]]) -> Picture:
    """Draw the rank correlation of predictions by site, with intervals and 95% of what chance gives."""
    chosen = [row for row in rows if row["target"] == target and row["rank_correlation"] is not None]

    def paint(axes: Axes) -> None:
        for space, colour in SITE_COLOURS.items():
            known = sorted((row for row in chosen if row["space"] == space), key=lambda row: row["site"])
            if not known:
                continue
            x = [row["site"] for row in known]
            spread = 1.96 * np.array([row["null_std"] for row in known])
            axes.fill_between(x, -spread, spread, color=light("band"), linewidth=0, zorder=0)
            ends = np.array([row["rank_correlation_ci"] or [row["rank_correlation"]] * 2 for row in known])
            axes.vlines(x, ends[:, 0], ends[:, 1], color=light(colour), linewidth=1.2)
            axes.plot(
                x, [row["rank_correlation"] for row in known], "o-", color=light(colour), markersize=4, label=space
            )
        axes.axhline(0, color=light("rule"), linewidth=0.8, zorder=0)
        axes.set(
            title=f"Prediction of {target}",
            xlabel="site",
            ylabel="rank correlation",
            xticks=legible(sorted({row["site"] for row in rows})),
        )
        legend_above(axes, 0.25, "upper right")

    return draw(
        f"latents-predicted-{target}", f"Rank correlation of closed forms with the {words}, by site", SIZE, paint
    )
