"""What the channels are good for: edits (Fig. 5b), hybrids (Fig. 7), segmentation (Fig. 8)."""

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


def edits(tables: Tables, summary: Mapping[str, Any]) -> Section | None:
    """The best edits of each class."""
    table = tables["edits"]
    if table.empty:
        return None
    names, rows = class_names(summary), []
    pictured = table[table.pngs.notna()]
    for class_id in shown(sorted(pictured.class_id.unique())):
        own = records(pictured[pictured.class_id == class_id].sort_values("rank"))
        photos = (
            _strip(
                row["pngs"],
                f"{names[class_id]}, channel {row['channel']} at site {row['site']} times 0, 1, 2 and 3",
                f"site {row['site']}, channel {row['channel']}: {row['kept']:.2f}",
            )
            for row in own
        )
        rows.append(PhotoRow(names[class_id], tuple(photos)))
    columns = {
        "class": "class",
        "rank": "rank",
        "site": "site",
        "channel": "channel",
        **{
            column: heading
            for measure in ("change", "locality", "kept", "merit")
            for column, heading in ((measure, measure), (f"{measure}_stderr", "±"))
        },
    }
    named = records(table.assign(**{"class": [names[one] for one in table.class_id]}))
    lead = (
        "One channel of one site times 0, 1 (the picture as it is), 2 and 3: the three best edits of each class by how "
        "much they change its pictures, how locally, and how far these stay pictures of the class. Chosen among "
        f"{table.n_candidates.max()} channels, those most aware of the class or of the latent code, on "
        f"{table.n_tried.max()} of its latents; pictures and scores are of {table.n_samples.max()} others, which "
        "did not choose. Below each strip: where, and the mean share of the class's probability that times 3 keeps."
    )
    headings = ("best", "second", "third")
    found = (table_of("The best edits of each class, ±: standard errors over latents", columns, named),)
    return Section("edits", "Edits of one channel", lead, (), found, headings, tuple(rows))


def hybrids(tables: Tables, summary: Mapping[str, Any]) -> Section | None:
    """Channel mixing beside style mixing and both classes."""
    table = tables["hybrids"]
    if table.empty:
        return None
    names, rows = class_names(summary), []
    for class_id in shown(sorted(table.class_id.unique())):
        own = table[table.class_id == class_id]
        reference = int(own.reference_id.min())
        by_kind = own[own.reference_id == reference].set_index("kind")
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
    pictures = (figures.compared_bars("hybrids", "The best of each kind", compared, "measure", words, "mean"),)
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
        "The same latents as pictures of a class, of another one drawn at random, and between them. Channel mixing "
        "transplants the features of the channels that the other class is most aware of at one site; style mixing "
        "changes the class from a site on. Of each kind, the sites and numbers of channels of the largest harmony are "
        "shown, on the first latents; scores are of others than those that chose. Below: mean probabilities of the "
        "class and of the other one. Harmony: 4 p q of the two, times the nearness to real images where there are some."
    )
    found = (
        table_of("Channel mixing against style mixing, means over classes", columns, compared),
        table_of("Mixtures of the classes shown", MIXTURE_COLUMNS, _mixtures(table, names)),
    )
    return Section("hybrids", "Hybrids of two classes", lead, pictures, found, tuple(KIND_WORDS.values()), tuple(rows))


MIXTURE_COLUMNS = {
    "pair": "pair",
    "words": "kind",
    "first_site": "from site",
    "k": "channels",
    "input_probability": "p of the class",
    "reference_probability": "p of the other",
    "realism": "realism",
    "harmony": "harmony",
    "harmony_stderr": "standard error",
}


def _mixtures(table: pd.DataFrame, names: Mapping[int, str]) -> list[dict[str, Any]]:
    """Mixtures without the classes themselves."""
    mixed = table[table.kind.isin(MIXED)]
    return [
        {**row, "pair": f"{names[row['class_id']]} × {names[row['reference_id']]}", "words": KIND_WORDS[row["kind"]]}
        for row in records(mixed)
    ]


def segmentation(tables: Tables, summary: Mapping[str, Any]) -> Section | None:
    """Label maps with and without awareness, and their overlap with a mask where there is one."""
    table = tables["segmentation"]
    if table.empty:
        return None
    names, shown_clusters = class_names(summary), int(table.clusters.max())
    ids = shown(sorted(table.class_id.unique()))
    rows = [
        PhotoRow(names[class_id], _maps(table[table.class_id == class_id], shown_clusters, names[class_id]))
        for class_id in ids
    ]
    headings = ("pictures", f"K = {shown_clusters}, plain", f"K = {shown_clusters}, by awareness")
    lead = (
        f"Pixels clustered by what the channels of sites {', '.join(map(str, table.sites.iloc[0]))} do there, with and "
        "without multiplying each channel by its awareness of the class. Clusters are fitted to all pictures of a "
        "class together, so a colour is the same part in each. By awareness, the darkest lies most at the pictures' "
        "border; plain parts have the colours of those with which they have most pixels in common."
    )
    compared = [_compared(row, ("plain", "weighted")) for row in summary["segmentation"] or ()]
    if not compared:
        return Section("segmentation", SEGMENTATION, lead, (), (), headings, tuple(rows))
    lead += " IoU: of the clusters that lie less at the border than most, with what is brighter than Otsu's threshold."
    named = [{**row, "clusters": f"K = {row['clusters']}"} for row in compared]
    ways = {"plain": "plain", "weighted": "by awareness"}
    bars = figures.compared_bars("segmentation-iou", "Foreground found", named, "clusters", ways, "IoU")
    columns = {
        "clusters": "K",
        "plain": "IoU, plain",
        "plain_in": "95% interval",
        "weighted": "by awareness",
        "weighted_in": "95% interval",
        "gained": "difference",
        "gained_in": "95% interval",
        "n_classes": "classes",
    }
    overlaps = table_of("Foreground by clusters against Otsu's, means over classes", columns, compared)
    return Section("segmentation", SEGMENTATION, lead, (bars,), (overlaps,), headings, tuple(rows))


def _maps(own: pd.DataFrame, clusters: int, class_name: str) -> tuple[Photo, ...]:
    """Pictures of a class, and their label maps without and with awareness."""
    pictures = own[own.png.notna()].sort_values("index")
    mapped = own[own.labels_png.notna() & (own.clusters == clusters)].sort_values("index")
    plain, weighted = (mapped[mapped.weighted == way] for way in (False, True))
    parts = ((plain, "without"), (weighted, "with"))
    maps = (_strip(list(part.labels_png), f"their parts {word} awareness", _overlap(part)) for part, word in parts)
    return _strip(list(pictures.png), f"{len(pictures)} pictures of the class {class_name}", ""), *maps


def _overlap(part: pd.DataFrame) -> str:
    known = part.iou.dropna()
    return f"IoU {known.mean():.2f}" if len(known) else ""


def _compared(row: Mapping[str, Any], columns: Sequence[str]) -> dict[str, Any]:
    """A row of a comparison with its intervals in words."""
    spans = {
        f"{name}_in": interval_words(row[f"{name}_ci"], 3).removeprefix("95% interval ")
        for name in (*columns, "gained")
    }
    return {**row, **spans}


def _strip(pngs: Sequence[bytes], alt: str, note: str) -> Photo:
    return Photo(data_uri(strip(list(pngs))), alt, note)
