"""Generated images: samples by class, and the effect of masking on them (Fig. 3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from cawa_core.rendering import figures
from cawa_core.rendering.figures import Picture
from cawa_core.rendering.grids import data_uri, strip
from cawa_core.rendering.sections.base import TARGET_WORDS, Photo, PhotoRow, Section, Tables, class_names, shown


def samples(tables: Tables, summary: Mapping[str, Any]) -> Section | None:
    """Build the section with samples of each class."""
    gallery = tables["gallery"]
    if gallery.empty:
        return None
    names = class_names(summary)
    rows = []
    for class_id in shown(sorted(gallery.class_id.unique())):
        images = gallery[(gallery.class_id == class_id) & (gallery.kind == "sample")].sort_values("index")
        halves = [images.iloc[: len(images) // 2], images.iloc[len(images) // 2 :]]
        rows.append(PhotoRow(names[class_id], tuple(_sample_strip(half, names[class_id]) for half in halves)))
    lead = (
        "Images of the first latents of each class, not hand-picked. The score is the evaluator's probability of the "
        "class."
    )
    return Section("samples", "Samples by class", lead, photo_rows=tuple(rows))


def _sample_strip(images: pd.DataFrame, class_name: str) -> Photo:
    alt = f"{len(images)} generated images of the class {class_name}"
    return Photo(data_uri(strip(list(images.png))), alt, f"mean score {images.score.mean():.2f}")


def masking_gallery(tables: Tables, summary: Mapping[str, Any]) -> Section | None:
    """Build the section on Fig. 3: images unmasked, and with the lowest, random and highest channels masked."""
    gallery = tables["gallery"]
    controls = summary["masking_controls"]
    if gallery.empty:
        return None
    names = class_names(summary)
    kinds = ("sample", "lowest", "random", "highest")
    masked = int((gallery.kind == "lowest").groupby(gallery.class_id).sum().max())
    rows = []
    for class_id in shown(sorted(gallery.class_id.unique())):
        photos = []
        for kind in kinds:
            images = gallery[(gallery.class_id == class_id) & (gallery.kind == kind)].sort_values("index").head(masked)
            state = "unmasked" if kind == "sample" else f"with the {kind} channels masked"
            source = data_uri(strip(list(images.png)))
            photos.append(Photo(source, f"{names[class_id]} {state}", f"{images.score.mean():.2f}"))
        rows.append(PhotoRow(names[class_id], tuple(photos)))
    pictures: list[Picture] = []
    if controls:
        for effect, words in TARGET_WORDS.items():
            pictures.append(figures.control_bars(f"controls-{effect}", words.capitalize(), controls["rows"], effect))
    lead = (
        "The same latents with the same share of channels set to zero at every site: the channels of lowest category "
        "awareness, random channels, and the channels of highest. Below each strip is the mean score of its images. "
        "The bars show means over classes, with 95% intervals, for masks at single sites and at all sites at once."
    )
    headings = ("unmasked", "lowest masked", "random masked", "highest masked")
    return Section(
        "gallery", "Masking the lowest, random and highest channels", lead, tuple(pictures), (), headings, tuple(rows)
    )
