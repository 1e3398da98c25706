"""Generated images in the report: samples by class, and the effect of masking on them (Fig. 3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from cawa_core.rendering.class_facts import ClassFacts
from cawa_core.rendering.figures import SIZE, Picture, draw, legend_above, legible
from cawa_core.rendering.palette import light
from cawa_core.rendering.sections import (
    Photo,
    PhotoRow,
    Section,
    Tables,
    class_names,
    rows_of_shown_classes,
    shown_classes,
    site_words,
)
from cawa_core.tables import Manifest
from cawa_core.tables.schema import ALL_SITES
from workflows.analyses.gallery import CLASS_THUMBNAILS_TABLE, GALLERY_TABLE
from workflows.analyses.masking import ControlOptions
from workflows.analyses.masking.sites import TARGET_WORDS
from workflows.interface import Content, Results

CONTROL_COLOURS = {"lowest": "muted", "random": "amber", "highest": "red"}
MASKED_WORDS = {"lowest": "the least aware channels", "random": "random channels", "highest": "the most aware channels"}


class GalleryResults(Results[ControlOptions]):
    """Pictures of each class, unmasked and masked."""

    def shown(self, manifest: Manifest) -> Tables:
        """Read the pictures of the classes that are shown, and thumbnails of all."""
        return {
            GALLERY_TABLE.name: rows_of_shown_classes(manifest, GALLERY_TABLE.name),
            CLASS_THUMBNAILS_TABLE.name: manifest.table(CLASS_THUMBNAILS_TABLE.name),
        }

    def class_facts(self, tables: Tables, summary: Content) -> ClassFacts:  # noqa: ARG002
        """Return the first samples of each class."""
        thumbnails = tables[CLASS_THUMBNAILS_TABLE.name]
        return ClassFacts(pictures=dict(zip(thumbnails.class_id.tolist(), thumbnails.webp, strict=True)))

    def sections(self, tables: Tables, summary: Content) -> Sequence[Section]:
        """Build the section with samples, and that on control masks."""
        gallery = tables[GALLERY_TABLE.name]
        if gallery.empty:
            return ()
        return samples(gallery, summary), masking_gallery(gallery, summary)


def samples(gallery: pd.DataFrame, summary: Content) -> Section:
    """Build the section with samples of each class."""
    names = class_names(summary)
    rows = []
    headings: tuple[str, ...] = ()
    for class_id in shown_classes(sorted(gallery.class_id.unique())):
        images = gallery[(gallery.class_id == class_id) & (gallery.kind == "sample")].sort_values("index")
        halves = [images.iloc[: len(images) // 2], images.iloc[len(images) // 2 :]]
        headings = tuple(f"latents {half['index'].min()} to {half['index'].max()}" for half in halves)
        rows.append(PhotoRow(names[class_id], tuple(_sample_strip(half, names[class_id]) for half in halves)))
    lead = (
        "Images of the first latents of each class, not hand-picked. The score is the probability that the evaluator, "
        "a classifier, gives the class."
    )
    return Section("samples", "Samples by class", lead, photo_headings=headings, photo_rows=tuple(rows))


def _sample_strip(images: pd.DataFrame, class_name: str) -> Photo:
    alt = f"{len(images)} generated images of the class {class_name}"
    return Photo.of_strip(list(images.png), alt, f"mean score {images.score.mean():.2f}")


def masking_gallery(gallery: pd.DataFrame, summary: Content) -> Section:
    """Build the section on Fig. 3: images unmasked, and with the lowest, random and highest channels masked."""
    names = class_names(summary)
    kinds = ("sample", "lowest", "random", "highest")
    masked = int((gallery.kind == "lowest").groupby(gallery.class_id).sum().max())
    rows = []
    for class_id in shown_classes(sorted(gallery.class_id.unique())):
        photos = []
        for kind in kinds:
            images = gallery[(gallery.class_id == class_id) & (gallery.kind == kind)].sort_values("index").head(masked)
            state = "unmasked" if kind == "sample" else f"with {MASKED_WORDS[kind]} masked"
            photos.append(Photo.of_strip(list(images.png), f"{names[class_id]} {state}", f"{images.score.mean():.2f}"))
        rows.append(PhotoRow(names[class_id], tuple(photos)))
    pictures: list[Picture] = []
    controls = summary["masking_controls"]
    if controls:
        for effect, words in TARGET_WORDS.items():
            pictures.append(control_bars(f"controls-{effect}", words.capitalize(), controls["rows"], effect))
    lead = (
        "Images of the same latents, with the same share of channels set to zero at every site: those of lowest "
        "category awareness, random ones, or those of highest category awareness. Below each strip is the mean score "
        "of its images. The bars show means over classes, with 95% intervals, for masks at single sites and at all "
        "sites."
    )
    headings = ("unmasked", "least aware masked", "random masked", "most aware masked")
    title = "Masking the least aware, random and most aware channels"
    return Section("gallery", title, lead, tuple(pictures), (), headings, tuple(rows))


def control_bars(name: str, title: str, rows: Sequence[Mapping[str, Any]], effect: str) -> Picture:
    """Draw Fig. 3 in numbers: lowest, random and highest masks at every site and, last, at all sites at once."""
    sites = [*sorted({row["site"] for row in rows if row["site"] >= 0}), ALL_SITES]
    by_key = {(row["site"], row["control"]): row for row in rows}

    def paint(axes: Axes) -> None:
        for shift, (control, colour) in enumerate(CONTROL_COLOURS.items()):
            known = [place for place, site in enumerate(sites) if (site, control) in by_key]
            selected = [by_key[sites[place], control] for place in known]
            x = np.array(known) + 0.27 * (shift - 1)
            axes.bar(x, [row[effect] for row in selected], 0.24, color=light(colour), label=control)
            ends = np.array([row[f"{effect}_ci"] or [row[effect]] * 2 for row in selected])
            axes.vlines(x, ends.reshape(-1, 2)[:, 0], ends.reshape(-1, 2)[:, 1], color=light("ink"), linewidth=0.9)
        axes.axhline(0, color=light("rule"), linewidth=0.8)
        numbered = {ALL_SITES, *legible(sites)}
        axes.set_xticks(range(len(sites)), [site_words(site) if site in numbered else "" for site in sites])
        axes.set(title=title, xlabel="masked site", ylabel="class probability")
        legend_above(axes, 0.15, "upper center", columns=3)

    return draw(
        name, f"{title} when channels of lowest, random or highest category awareness are masked, by site", SIZE, paint
    )
