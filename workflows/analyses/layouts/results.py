"""Layouts and strokes in the summary and the report: how closely images show what was asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from cawa_core.rendering.claims import Claim, interval_words
from cawa_core.rendering.html_tables import number_with_interval, table_of
from cawa_core.rendering.sections import Photo, PhotoRow, Section, Tables, class_names, rows_of_shown_classes
from cawa_core.statistics.verdicts import FAILS, FEWEST_CLASSES, HOLDS, OPEN
from cawa_core.tables import Manifest
from workflows.analyses.layouts import (
    BEST_OF_MANY,
    LAYOUTS,
    LAYOUTS_TABLE,
    OPTIMISED,
    STROKES_TABLE,
    WAY_WORDS,
    LayoutOptions,
)
from workflows.interface import Content, Findings, Results
from workflows.results.class_resamples import ClassResamples

STROKE_MEASURES = {
    "before": "share of the stroke with the painted label, before",
    "after": "the same, after",
    "outside_kept": "share of the other pixels that keep their label",
    "change": "change of a pixel in the stroke",
    "outside_change": "change of a pixel outside",
    "realism_before": "realism before",
    "realism_after": "realism after",
}


class LayoutsResults(Results[LayoutOptions]):
    """How closely optimised images show layouts and strokes."""

    def summary(self, findings: Findings) -> Content:
        """Return means over classes with intervals."""
        layouts, strokes = tables_without_pictures(findings.manifest)
        return {
            "layouts": None if layouts.empty else layouts_summary(layouts, findings.resamples),
            "strokes": None if strokes.empty else strokes_summary(strokes, findings.resamples),
        }

    def claims(self, summary: Content) -> Sequence[Claim]:
        """Decide whether optimised latents have a layout more closely than the best of as many draws."""
        entry = summary.get("layouts")
        return [layout_claim(entry)] if entry else []

    def shown(self, manifest: Manifest) -> Tables:
        """Read the pictures of some classes."""
        return {name: rows_of_shown_classes(manifest, name) for name in (LAYOUTS_TABLE.name, STROKES_TABLE.name)}

    def sections(self, tables: Tables, summary: Content) -> Sequence[Section]:
        """Build the section."""
        if not (summary.get("layouts") or summary.get("strokes")):
            return []
        return [layouts_section(tables, summary)]


def tables_without_pictures(manifest: Manifest) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the tables ``layouts`` and ``strokes`` without their pictures, which may be large."""
    layouts, strokes = (
        manifest.rows(table.name, [name for name in table.columns if name != "pngs"]).to_pandas()
        for table in (LAYOUTS_TABLE, STROKES_TABLE)
    )
    return layouts, strokes


def layouts_summary(rows: pd.DataFrame, resamples: ClassResamples) -> dict[str, Any]:
    """Summarise the table ``layouts``.

    Returns:
        ``n_layouts`` and ``n_classes``; ``ways``: for each way, mean agreement and realism over classes with intervals,
        and its passes; ``gain``: agreement of the optimised images less that of the best of as many draws, with an
        interval.
    """
    shares = rows.assign(agreement=rows.agreeing / rows.pixels)
    by_way = {way: shares[shares.way == way].groupby("class_id")[["agreement", "realism"]].mean() for way in WAY_WORDS}
    passes = rows.groupby("way").passes.max()
    gain = by_way[OPTIMISED].agreement - by_way[BEST_OF_MANY].agreement
    return {
        "n_layouts": len(rows[["class_id", "layout"]].drop_duplicates()),
        "n_classes": int(rows.class_id.nunique()),
        "ways": [{"way": way, "passes": int(passes[way]), **resamples.means(means)} for way, means in by_way.items()],
        **resamples.means(pd.DataFrame({"gain": gain})),
    }


def strokes_summary(rows: pd.DataFrame, resamples: ClassResamples) -> dict[str, Any]:
    """Summarise the table ``strokes``: means over classes of shares, changes and realism, with intervals."""
    shares = rows.assign(
        before=rows.before / rows.pixels,
        after=rows.after / rows.pixels,
        outside_kept=rows.outside_kept / rows.outside_pixels,
    )
    by_class = shares.groupby("class_id")[list(STROKE_MEASURES)].mean()
    return {"n_strokes": len(rows), **resamples.means(by_class)}


def layout_claim(entry: Mapping[str, Any]) -> Claim:
    """Decide the claim on layouts.

    Args:
        entry: ``layouts`` of the summary.
    """
    interval = entry["gain_ci"]
    verdict = OPEN
    if interval is not None and entry["n_classes"] >= FEWEST_CLASSES and (interval[0] > 0 or interval[1] < 0):
        verdict = HOLDS if interval[0] > 0 else FAILS
    by_way = {row["way"]: row for row in entry["ways"]}
    evidence = (
        f"{entry['n_layouts']} layouts: the segmenter agrees in {by_way[OPTIMISED]['agreement']:.1%} of pixels with "
        f"optimisation and in {by_way[BEST_OF_MANY]['agreement']:.1%} with the closest of "
        f"{by_way[BEST_OF_MANY]['passes']:,} draws; difference {entry['gain']:+.3f}, {interval_words(interval, 3)}."
    )
    return Claim(
        "Latents that are optimised for a layout have it more closely than the best of as many draws.",
        verdict,
        evidence.replace("-0.", "−0."),
        "Xu and Zheng 2021, sec. 5",
    )


def layouts_section(tables: Tables, summary: Content) -> Section:
    """Build the section.

    Args:
        tables: rows with pictures of some classes.
        summary: the summary.
    """
    lead = (
        "Images are optimised to show given labels. A layout is the label map of another image of the class: the "
        "latent code is optimised until a linear map of the features reads the layout. A stroke is a disc painted with "
        "a label that other images of the class have there: the latent code and features are optimised until the map "
        "reads the label, while the rest of the image is kept. Agreement is the share of pixels to which the "
        "segmenter, which optimisation does not see, gives the wanted label. Realism is closeness to real images of "
        "the class. In brackets: 95% intervals over classes."
    )
    html_tables = []
    if entry := summary.get("layouts"):
        columns = {"words": "image", "passes": "passes", "agreement": "agreement", "realism": "realism"}
        rows = [
            {**row, "words": WAY_WORDS[row["way"]], **_in_words(row, ("agreement", "realism"))} for row in entry["ways"]
        ]
        html_tables.append(table_of(f"{entry['n_layouts']} layouts", columns, rows))
    if entry := summary.get("strokes"):
        values = _in_words(entry, STROKE_MEASURES)
        measures = [{"words": words, "value": values[name]} for name, words in STROKE_MEASURES.items()]
        columns = {"words": "measure", "value": "mean over classes"}
        html_tables.append(table_of(f"{entry['n_strokes']} strokes", columns, measures))
    headings = ("layout, the closest of a few draws, optimised, best of many draws", "image, stroke, edited image")
    photos = _photos(tables, class_names(summary))
    return Section(LAYOUTS.name, LAYOUTS.title, lead, (), tuple(html_tables), headings, photos)


def _in_words(entry: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Return means with their intervals in words."""
    return {name: number_with_interval(entry[name], entry[f"{name}_ci"], 3) for name in names}


def _photos(tables: Tables, names: Mapping[int, str]) -> tuple[PhotoRow, ...]:
    """Return the strips of each class that is shown."""
    layouts, strokes = tables[LAYOUTS_TABLE.name], tables[STROKES_TABLE.name]
    rows = []
    for class_id in sorted({*layouts.class_id.tolist(), *strokes.class_id.tolist()}):
        name = names[class_id]
        photos = []
        by_way = layouts[(layouts.class_id == class_id) & (layouts.layout == 0)].set_index("way")
        if len(by_way):
            pngs = [by_way.pngs.iloc[0][0], *(by_way.pngs[way][1] for way in WAY_WORDS)]
            agreement = by_way.agreeing / by_way.pixels
            note = "agreement " + ", ".join(f"{agreement[way]:.2f}" for way in WAY_WORDS)
            photos.append(Photo.of_strip(pngs, f"{name}: a layout and images of it", note))
        for row in strokes[(strokes.class_id == class_id) & strokes.pngs.notna()].head(1).itertuples():
            note = (
                f"{row.label}: {row.before / row.pixels:.0%} of the stroke before, {row.after / row.pixels:.0%} after"
            )
            photos.append(Photo.of_strip(list(row.pngs), f"{name}: an image, a stroke, and the edited image", note))
        rows.append(PhotoRow(name, tuple(photos)))
    return tuple(rows)
