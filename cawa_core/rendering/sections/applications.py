"""Uses of the channels: edits (Fig. 5b), hybrids (Fig. 7) and segmentation (Fig. 8)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from cawa_core.applications.mixtures import MIXED
from cawa_core.rendering import figures
from cawa_core.rendering.findings import interval_words
from cawa_core.rendering.grids import data_uri, strip
from cawa_core.rendering.html_tables import records, table_of
from cawa_core.rendering.sections.base import Photo, PhotoRow, Section, Tables, class_names, shown

KIND_WORDS = {
    "input": "the class",
    "reference": "the other class",
    "style_mixing": "style mixing",
    "channel_mixing": "channel mixing",
}
SEGMENTATION = "Segmentation by channels"
EDIT_MEASURE_WORDS = {"change": "change", "locality": "locality", "kept": "class retention", "merit": "merit"}


def edits(tables: Tables, summary: Mapping[str, Any]) -> Section | None:
    """Build the section on the best edits of each class."""
    table = tables["edits"]
    if table.empty:
        return None
    names = class_names(summary)
    rows = []
    pictured = table[table.pngs.notna()]
    for class_id in shown(sorted(pictured.class_id.unique())):
        best = records(pictured[pictured.class_id == class_id].sort_values("rank"))
        photos = (
            _strip(
                row["pngs"],
                f"{names[class_id]}, channel {row['channel']} at site {row['site']} times 0, 1, 2 and 3",
                f"site {row['site']}, channel {row['channel']}: {row['kept']:.2f}",
            )
            for row in best
        )
        rows.append(PhotoRow(names[class_id], tuple(photos)))
    columns = {
        "class": "class",
        "rank": "rank",
        "site": "site",
        "channel": "channel",
        **{
            column: heading
            for measure, words in EDIT_MEASURE_WORDS.items()
            for column, heading in ((measure, words), (f"{measure}_stderr", "±"))
        },
    }
    named = records(table.assign(**{"class": [names[class_id] for class_id in table.class_id]}))
    lead = (
        "One channel of one site multiplied by 0, 1 (the image unchanged), 2 and 3: the three best edits of each class "
        "by how much they change its images, how local the change is, and how well the class is retained. They "
        f"were chosen among the {table.n_candidates.max()} channels most aware of the class or of the latent code, on "
        f"{table.n_tried.max()} latents; images and scores use {table.n_samples.max()} held-out latents. Below each "
        "strip are the site, the channel, and the mean class retention when the channel is multiplied by 3: "
        "min(1, p after / p before) for the probability of the class."
    )
    headings = ("best", "second", "third")
    best_edits = table_of("The best edits of each class (±: standard errors over latents)", columns, named)
    return Section("edits", "Single-channel edits", lead, (), (best_edits,), headings, tuple(rows))


def hybrids(tables: Tables, summary: Mapping[str, Any]) -> Section | None:
    """Build the section on channel mixing beside style mixing and both classes."""
    table = tables["hybrids"]
    if table.empty:
        return None
    names = class_names(summary)
    rows = []
    for class_id in shown(sorted(table.class_id.unique())):
        of_class = table[table.class_id == class_id]
        reference = int(of_class.reference_id.min())
        by_kind = of_class[of_class.reference_id == reference].set_index("kind")
        photos = (
            _strip(
                by_kind.pngs[kind],
                f"{names[class_id]} and {names[reference]}: {words}",
                f"p = {by_kind.input_probability[kind]:.2f}, {by_kind.reference_probability[kind]:.2f}",
            )
            for kind, words in KIND_WORDS.items()
        )
        rows.append(PhotoRow(f"{names[class_id]} × {names[reference]}", tuple(photos)))
    compared = [_compared(row, MIXED) for row in summary["hybrids"]]
    words = {kind: KIND_WORDS[kind] for kind in MIXED}
    pictures = (figures.compared_bars("hybrids", "The best mixture of each kind", compared, "measure", words, "mean"),)
    columns = {
        "measure": "measure",
        "style_mixing": "style mixing",
        "style_mixing_in": "95% interval",
        "channel_mixing": "channel mixing",
        "channel_mixing_in": "95% interval",
        "gained": "difference",
        "gained_in": "95% interval",
        "n_pairs": "pairs",
    }
    lead = (
        "The same latents as images of a class, of another class drawn at random, and of mixtures of the two. Channel "
        "mixing transplants, at one site, the features of the channels that are most aware of the other class; style "
        "mixing switches the class from some site on. For each kind, the mixture with the largest harmony is shown on "
        "the first latents; scores use held-out latents. Below each strip are the mean probabilities of the class and "
        "of the other class. Harmony is 4 p q of these two, times the closeness to real images if there are any."
    )
    comparisons = (
        table_of("Channel mixing against style mixing, means over classes", columns, compared),
        table_of("The best mixtures of each pair of classes", MIXTURE_COLUMNS, _mixtures(table, names)),
    )
    headings = tuple(KIND_WORDS.values())
    return Section("hybrids", "Hybrids of two classes", lead, pictures, comparisons, headings, tuple(rows))


MIXTURE_COLUMNS = {
    "pair": "pair",
    "words": "kind",
    "first_site": "from site",
    "k": "channels",
    "input_probability": "p of the class",
    "reference_probability": "p of the other class",
    "realism": "realism",
    "harmony": "harmony",
    "harmony_stderr": "standard error",
}


def _mixtures(table: pd.DataFrame, names: Mapping[int, str]) -> list[dict[str, Any]]:
    """Return the rows of the mixtures, without those of the unmixed classes."""
    mixed = table[table.kind.isin(MIXED)]
    return [
        {**row, "pair": f"{names[row['class_id']]} × {names[row['reference_id']]}", "words": KIND_WORDS[row["kind"]]}
        for row in records(mixed)
    ]


def segmentation(tables: Tables, summary: Mapping[str, Any]) -> Section | None:
    """Build the section on label maps with and without awareness, and on their overlap with a mask if there is one."""
    table = tables["segmentation"]
    if table.empty:
        return None
    names = class_names(summary)
    clusters = int(table.clusters.max())
    ids = shown(sorted(table.class_id.unique()))
    rows = [
        PhotoRow(names[class_id], _maps(table[table.class_id == class_id], clusters, names[class_id]))
        for class_id in ids
    ]
    headings = ("images", f"K = {clusters}, unweighted", f"K = {clusters}, weighted by awareness")
    lead = (
        f"Pixels clustered by what the channels of sites {', '.join(map(str, table.sites.iloc[0]))} do there, with and "
        "without weighting each channel by its awareness of the class. Clusters are fitted to all images of a class "
        "together, so a colour is the same part in each image. In the weighted maps, the darkest part is the one that "
        "lies most at the image border; unweighted parts take the colours of the parts they share most pixels with."
    )
    compared = [_compared(row, ("plain", "weighted")) for row in summary["segmentation"] or ()]
    if not compared:
        return Section("segmentation", SEGMENTATION, lead, (), (), headings, tuple(rows))
    lead += (
        " IoU compares the foreground, the clusters with less of their area at the border than pixels have on average, "
        "with the pixels brighter than Otsu's threshold."
    )
    named = [{**row, "clusters": f"K = {row['clusters']}"} for row in compared]
    methods = {"plain": "unweighted", "weighted": "weighted by awareness"}
    bars = figures.compared_bars("segmentation-iou", "Foreground by clusters", named, "clusters", methods, "IoU")
    columns = {
        "clusters": "K",
        "plain": "IoU, unweighted",
        "plain_in": "95% interval",
        "weighted": "IoU, weighted",
        "weighted_in": "95% interval",
        "gained": "difference",
        "gained_in": "95% interval",
        "n_classes": "classes",
    }
    overlaps = table_of("Foreground by clusters against Otsu's threshold, means over classes", columns, compared)
    return Section("segmentation", SEGMENTATION, lead, (bars,), (overlaps,), headings, tuple(rows))


def _maps(rows: pd.DataFrame, clusters: int, class_name: str) -> tuple[Photo, ...]:
    """Return the images of a class, and their label maps without and with awareness."""
    images = rows[rows.png.notna()].sort_values("index")
    mapped = rows[rows.labels_png.notna() & (rows.clusters == clusters)].sort_values("index")
    plain, weighted = (mapped[mapped.weighted == is_weighted] for is_weighted in (False, True))
    parts = ((plain, "without"), (weighted, "with"))
    maps = (_strip(list(part.labels_png), f"their parts, {word} awareness", _overlap(part)) for part, word in parts)
    return _strip(list(images.png), f"{len(images)} images of the class {class_name}", ""), *maps


def _overlap(part: pd.DataFrame) -> str:
    known = part.iou.dropna()
    return f"IoU {known.mean():.2f}" if len(known) else ""


def _compared(row: Mapping[str, Any], columns: Sequence[str]) -> dict[str, Any]:
    """Add the intervals in words to a row of a comparison."""
    spans = {
        f"{name}_in": interval_words(row[f"{name}_ci"], 3).removeprefix("95% interval ")
        for name in (*columns, "gained")
    }
    return {**row, **spans}


def _strip(pngs: Sequence[bytes], alt: str, note: str) -> Photo:
    return Photo(data_uri(strip(list(pngs))), alt, note)
