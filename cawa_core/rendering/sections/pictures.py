"""Generated pictures: samples by class, and what masking does to them (Fig. 3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from cawa_core.rendering import figures
from cawa_core.rendering.figures import Picture
from cawa_core.rendering.grids import data_uri, strip
from cawa_core.rendering.sections.base import TARGET_WORDS, Photo, PhotoRow, Section, Tables, class_names, shown


def samples(tables: Tables, summary: Mapping[str, Any]) -> Section | None:
    """The sample sheet by class."""
    gallery = tables["gallery"]
    if gallery.empty:
        return None
    names = class_names(summary)
    rows = []
    for class_id in shown(sorted(gallery.class_id.unique())):
        own = gallery[(gallery.class_id == class_id) & (gallery.kind == "sample")].sort_values("index")
        halves = [own.iloc[: len(own) // 2], own.iloc[len(own) // 2 :]]
        rows.append(PhotoRow(names[class_id], tuple(_sample_strip(half, names[class_id]) for half in halves)))
    lead = "The first latents of each class, not chosen. The score is the evaluator's probability of the class."
    return Section("samples", "Samples by class", lead, photo_rows=tuple(rows))


def _sample_strip(pictures: pd.DataFrame, class_name: str) -> Photo:
    alt = f"{len(pictures)} generated pictures of the class {class_name}"
    return Photo(data_uri(strip(list(pictures.png))), alt, f"mean score {pictures.score.mean():.2f}")


def masking_gallery(tables: Tables, summary: Mapping[str, Any]) -> Section | None:
    """Fig. 3: unmasked, and with the lowest, random and highest channels masked."""
    gallery, controls = tables["gallery"], summary["masking_controls"]
    if gallery.empty:
        return None
    names, kinds = class_names(summary), ("sample", "lowest", "random", "highest")
    masked = int((gallery.kind == "lowest").groupby(gallery.class_id).sum().max())
    rows = []
    for class_id in shown(sorted(gallery.class_id.unique())):
        photos = []
        for kind in kinds:
            own = gallery[(gallery.class_id == class_id) & (gallery.kind == kind)].sort_values("index").head(masked)
            what = "unmasked" if kind == "sample" else f"with the {kind} channels masked"
            photos.append(Photo(data_uri(strip(list(own.png))), f"{names[class_id]} {what}", f"{own.score.mean():.2f}"))
        rows.append(PhotoRow(names[class_id], tuple(photos)))
    pictures: list[Picture] = []
    if controls:
        for effect, words in TARGET_WORDS.items():
            pictures.append(figures.control_bars(f"controls-{effect}", words.capitalize(), controls["rows"], effect))
    lead = (
        "The same latents with the same share of channels set to zero at every site: those of lowest category "
        "awareness, random ones, those of highest. Below each strip: the mean score of its pictures. The bars give "
        "the mean over classes, with 95% intervals, for masks at one site and at all."
    )
    headings = ("unmasked", "lowest masked", "random masked", "highest masked")
    return Section("gallery", "Masking: lowest, random, highest", lead, tuple(pictures), (), headings, tuple(rows))
