"""Channel mixing against style mixing, in the summary and the report (Sec. 5.2, Fig. 7)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from cawa_core.errors import InputError, counted, listed
from cawa_core.hybrids.kinds import MIXED
from cawa_core.rendering.claims import Claim, signed
from cawa_core.rendering.figures import compared_bars
from cawa_core.rendering.html_tables import records, table_of
from cawa_core.rendering.sections import (
    Photo,
    PhotoRow,
    Section,
    Tables,
    class_names,
    rows_of_shown_classes,
    shown_classes,
    with_intervals_in_words,
)
from cawa_core.statistics.verdicts import SMALLEST_GAIN
from cawa_core.tables import Manifest
from cawa_core.worlds.factors import known_factors
from workflows.analyses.hybrids import HYBRIDS, HYBRIDS_TABLE, HybridOptions
from workflows.analyses.hybrids.concepts import CONCEPT_LEAD, concept_summary, concept_table
from workflows.analyses.hybrids.factors import factor_claim, factor_lead, factor_summary, factor_table, mixture_table
from workflows.interface import Content, Findings, Results
from workflows.results.class_resamples import ClassResamples, typical_value, typical_verdict, typical_words

MEASURES = ("harmony", "balance", "realism")
"""Measures of hybrids."""
KIND_WORDS = {
    "input": "input class",
    "reference": "reference class",
    "style_mixing": "style mixing",
    "channel_mixing": "channel mixing",
}
COMPARISON_COLUMNS = {
    "measure": "measure",
    "style_mixing": "style mixing",
    "style_mixing_in": "95% interval of the mean",
    "channel_mixing": "channel mixing",
    "channel_mixing_in": "95% interval of the mean",
    "gained": "difference",
    "gained_in": "95% interval of the mean",
    "n_pairs": "pairs",
}
MIXTURE_COLUMNS = {
    "pair": "pair",
    "words": "kind",
    "first_site": "from site",
    "k": "channels",
    "input_probability": "p of the input class",
    "reference_probability": "p of the reference class",
    "realism": "realism",
    "harmony": "harmony",
    "harmony_stderr": "standard error",
}


class HybridsResults(Results[HybridOptions]):
    """Hybrids of two classes."""

    def summary(self, findings: Findings) -> Content:
        """Summarise channel mixing against style mixing, and what hybrids have of either class."""
        manifest = findings.manifest
        factors = known_factors(findings.spec.real_images)
        return {
            "hybrids": hybrid_summary(manifest, findings.resamples),
            "hybrid_factors": factors and factor_summary(manifest, factors, findings.resamples),
            "hybrid_concepts": concept_summary(manifest, findings.resamples),
        }

    def claims(self, summary: Content) -> Sequence[Claim]:
        """Decide whether channel mixing makes better hybrids, and whether hybrids combine factors of both classes."""
        names = class_names(summary)
        rows = summary.get("hybrids")
        claims = hybrid_claims(rows, names) if rows else []
        entry = summary.get("hybrid_factors")
        return [*claims, factor_claim(entry, names, KIND_WORDS)] if entry else claims

    def shown(self, manifest: Manifest) -> Tables:
        """Read the hybrids of the classes that are shown."""
        return {HYBRIDS_TABLE.name: rows_of_shown_classes(manifest, HYBRIDS_TABLE.name)}

    def sections(self, tables: Tables, summary: Content) -> Sequence[Section]:
        """Build the section on hybrids of two classes."""
        table = tables[HYBRIDS_TABLE.name]
        return [] if table.empty else [hybrid_section(table, summary)]


def hybrid_summary(manifest: Manifest, resamples: ClassResamples) -> list[dict[str, Any]] | None:
    """Compare channel mixing with style mixing by each known measure; means over input classes."""
    table = manifest.rows(HYBRIDS_TABLE.name, ["class_id", "reference_id", "kind", *MEASURES]).to_pandas()
    if table.empty:
        return None
    _require_all_kinds(table)
    summary = []
    for measure in MEASURES:
        by_pair = table.pivot(index=["class_id", "reference_id"], columns="kind", values=measure).astype(float)
        mixed = by_pair[list(MIXED)].dropna()
        if mixed.empty:
            continue
        mixed["gained"] = mixed.channel_mixing - mixed.style_mixing
        by_class = mixed.groupby("class_id").mean()
        row = {"measure": measure, "n_pairs": len(mixed), "n_classes": len(by_class)}
        summary.append(row | resamples.means(by_class) | {"typical_gain": typical_value(by_class.gained)})
    return summary


def _require_all_kinds(table: pd.DataFrame) -> None:
    """Check that both classes and both mixtures of every pair have a row, as whoever wrote them computed them at once.

    Raises:
        InputError: one is missing.
    """
    for pair, kinds in table.groupby(["class_id", "reference_id"]).kind:
        missing = [kind for kind in KIND_WORDS if kind not in set(kinds)]
        if missing:
            raise InputError(
                f"table {HYBRIDS_TABLE.name} has no row {listed(missing)} for class {pair[0]} with {pair[1]}, so it is "
                f"damaged; run `cawa audit --replace {HYBRIDS_TABLE.name}` to compute it again"
            )


def hybrid_claims(rows: Sequence[Mapping[str, Any]], names: Mapping[int, str]) -> list[Claim]:
    """Decide whether channel mixing makes hybrids of more harmony; the other measures are evidence."""
    by_measure = {row["measure"]: row for row in rows}
    chosen = by_measure["harmony"]
    words = "high if the evaluator is undecided between the classes" + (
        " and the images are close to real ones" if "realism" in by_measure else ""
    )
    parts = ", ".join(
        f"{measure} {row['channel_mixing']:.2f} against {row['style_mixing']:.2f}"
        for measure, row in by_measure.items()
        if measure != "harmony"
    )
    evidence = (
        f"Mean harmony ({words}) of the best mixture of each kind, over {counted(chosen['n_pairs'], 'pair')}: "
        f"{chosen['channel_mixing']:.3f} for channel mixing and {chosen['style_mixing']:.3f} for style mixing, a "
        f"difference of {signed(chosen['gained'], 3)} ({typical_words(chosen['typical_gain'], names, 3)}). Its parts: "
        f"{parts}."
    )
    claim = "Channel mixing makes more harmonious hybrids of two classes than style mixing does."
    verdict = typical_verdict(chosen["typical_gain"], 1, SMALLEST_GAIN)
    return [Claim(claim, verdict, evidence, "Sec. 5.2, Fig. 7")]


def hybrid_section(table: pd.DataFrame, summary: Content) -> Section:
    """Build the section on channel mixing beside style mixing and both classes."""
    _require_all_kinds(table)
    names = class_names(summary)
    rows = []
    for class_id in shown_classes(sorted(table.class_id.unique())):
        of_class = table[table.class_id == class_id]
        reference = int(of_class.reference_id.min())
        by_kind = of_class[of_class.reference_id == reference].set_index("kind")
        photos = (
            Photo.of_strip(
                by_kind.pngs[kind],
                f"{names[class_id]} and {names[reference]}: {words}",
                f"p = {by_kind.input_probability[kind]:.2f}, {by_kind.reference_probability[kind]:.2f}",
            )
            for kind, words in KIND_WORDS.items()
        )
        rows.append(PhotoRow(f"{names[class_id]} × {names[reference]}", tuple(photos)))
    compared = [with_intervals_in_words(row, (*MIXED, "gained")) for row in summary["hybrids"]]
    words = {kind: KIND_WORDS[kind] for kind in MIXED}
    bars = compared_bars("hybrids", "The best mixture of each kind", compared, "measure", words, "mean")
    lead = (
        "Images of the same latents, generated as the input class, as a reference class drawn at random, and as "
        "mixtures of the two. Channel mixing transplants, at one site, the features of the channels that are most "
        "aware of the reference class; style mixing switches to the reference class from some site onwards. For each "
        "kind, the mixture with the largest harmony is shown on the first latents; scores use held-out latents. Below "
        "each strip are the mean probabilities p of the input class and q of the reference class. Harmony is 4 p q "
        "(balance), times the closeness to real images (realism) if there are any."
    )
    tables = [
        table_of("Channel mixing against style mixing, means over classes", COMPARISON_COLUMNS, compared),
        table_of("The best mixtures of each pair of classes", MIXTURE_COLUMNS, _mixtures(table, names)),
    ]
    if entry := summary.get("hybrid_factors"):
        lead += factor_lead(entry)
        tables += [factor_table(entry, KIND_WORDS), mixture_table(entry, KIND_WORDS)]
    if concepts := summary.get("hybrid_concepts"):
        lead += CONCEPT_LEAD
        tables.append(concept_table(concepts, KIND_WORDS))
    headings = tuple(KIND_WORDS.values())
    return Section(HYBRIDS.name, "Hybrids of two classes", lead, (bars,), tuple(tables), headings, tuple(rows))


def _mixtures(table: pd.DataFrame, names: Mapping[int, str]) -> list[dict[str, Any]]:
    """Return the rows of the mixtures, without those of the unmixed classes."""
    mixed = table[table.kind.isin(MIXED)]
    return [
        {**row, "pair": f"{names[row['class_id']]} × {names[row['reference_id']]}", "words": KIND_WORDS[row["kind"]]}
        for row in records(mixed)
    ]
