"""What each section of the report shows, from the tables of an audit."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from cawa_core.rendering import figures
from cawa_core.rendering.figures import Picture
from cawa_core.rendering.findings import CRITERION_WORDS, METRIC_SIGNS, PREDICTOR_WORDS, interval_words, signed
from cawa_core.rendering.grids import data_uri, strip
from cawa_core.rendering.html_tables import HtmlTable, records, table_of
from cawa_core.statistics.correlation import smoothed
from cawa_core.statistics.similarity import centroid_distances, common_classes, pairs_as_matrix, similar_together

Tables = Mapping[str, pd.DataFrame]

SHOWN_CLASSES = 20
"""Classes with pictures in the report; of more, an even choice."""
CURVES = 4
"""Class-site pairs shown as curves, like the paper's Fig. 4."""
TARGET_WORDS = {"score_change": "signed change", "score_change_abs": "absolute change"}
FLOOR_COLUMNS = {
    "metric": "metric",
    "mean": "all samples",
    "half_fake_against_real": "half the fakes",
    "half_real_against_real": "reals against reals",
    "min": "lowest",
    "min_class": "of",
    "max": "highest",
    "max_class": "of",
}
OVERLAP_CRITERIA = ("category_highest", "expected_activation_highest", "masking_highest")


@dataclasses.dataclass(frozen=True)
class Photo:
    """One strip of generated pictures: a data URI, its alternative text, a line below."""

    source: str
    alt: str
    note: str


@dataclasses.dataclass(frozen=True)
class PhotoRow:
    """Strips of one class side by side."""

    label: str
    photos: tuple[Photo, ...]


@dataclasses.dataclass(frozen=True)
class Section:
    """One section: heading, plain words, pictures, tables."""

    anchor: str
    title: str
    lead: str
    figures: tuple[Picture, ...] = ()
    tables: tuple[HtmlTable, ...] = ()
    photo_headings: tuple[str, ...] = ()
    photo_rows: tuple[PhotoRow, ...] = ()


def class_names(summary: Mapping[str, Any]) -> dict[int, str]:
    """Names of the audit's classes by index."""
    return {int(class_id): name for class_id, name in summary["class_names"].items()}


def shown(class_ids: list[int]) -> list[int]:
    """An even choice of at most ``SHOWN_CLASSES``."""
    places = np.linspace(0, len(class_ids) - 1, min(SHOWN_CLASSES, len(class_ids)))
    return [class_ids[int(place)] for place in places.round()]


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


def curves(tables: Tables, summary: Mapping[str, Any]) -> Section | None:
    """Fig. 4, signed and absolute, with the permutation null of every class and site."""
    correlations = tables["masking_correlation"]
    if correlations.empty:
        return None
    names = class_names(summary)
    by_awareness = correlations[correlations.predictor == "category_awareness"]
    pictures, rows = [], []
    for target, words in TARGET_WORDS.items():
        own = by_awareness[by_awareness.target == target].sort_values("pearson_smoothed", ascending=False)
        pictures.append(figures.null_band(f"null-{target}", f"{words.capitalize()}, all pairs", records(own)))
        middle = own.iloc[[len(own) // 2]]
        for place, row in enumerate(records(pd.concat([own.head(CURVES), middle]))):
            rank = "median pair" if place == len(own.head(CURVES)) else f"no. {place + 1}"
            pictures.append(_curve(tables, row, names[row["class_id"]], words, rank))
        rows += [{**row, "class": names[row["class_id"]], "words": words} for row in records(own)]
    columns = {
        "class": "class",
        "site": "site",
        "words": "effect",
        "pearson_smoothed": "smoothed r",
        "null_mean": "null mean",
        "null_std": "null sd",
        "p_value": "p",
        "pearson": "r",
        "spearman": "rank r",
        "n_groups": "n",
    }
    lead = (
        "Channels in order of category awareness (blue) against what masking each does to the class's probability: "
        "one dot a channel, red when smoothed as in the paper. For each kind of change the four class-site pairs of "
        "highest r, as the paper shows its best, and then the median pair. Smoothing raises r by itself: the grey "
        "bands hold 95% of the smoothed r of randomly permuted changes."
    )
    table = table_of("Category awareness against the effect of masking, every class and site", columns, rows)
    return Section("curves", "Awareness and the effect of masking", lead, tuple(pictures), (table,))


def _curve(tables: Tables, row: Mapping[str, Any], class_name: str, words: str, rank: str) -> Picture:
    masking, awareness = tables["masking"], tables["awareness"]
    here = (masking.class_id == row["class_id"]) & (masking.site == row["site"])
    groups = masking[here].sort_values("group")
    estimator = "closed_form" if (awareness.estimator == "closed_form").any() else "monte_carlo"
    there = (awareness.class_id == row["class_id"]) & (awareness.site == row["site"])
    values = awareness[there & (awareness.estimator == estimator)].set_index("channel").category_awareness
    mean_awareness = np.array([values[list(channels)].mean() for channels in groups.channels])
    change = groups[row["target"]].to_numpy(dtype=np.float64)
    r = f"r = {signed(row['pearson_smoothed'])}"
    null = f"null {signed(row['null_mean'])} ± {row['null_std']:.2f}, p = {row['p_value']:.3f}"
    title = f"{class_name}, site {row['site']} ({rank}): {r}\n{null}"
    name = f"curve-{row['target']}-{rank.replace('no. ', '').replace(' ', '-')}"
    alt = f"{class_name} at site {row['site']}: {words} of the score by channels in order of awareness; {r}, {null}"
    return figures.masking_curve(name, title, mean_awareness, change, smoothed(change), words, alt)


def predictors(tables: Tables, summary: Mapping[str, Any]) -> Section | None:  # noqa: ARG001
    """Which predictor foretells masking best, site by site."""
    rows = summary["masking_prediction"]
    if not rows:
        return None
    pictures = tuple(
        figures.predictor_lines(
            f"predictors-{target}",
            words.capitalize(),
            [row for row in rows if row["target"] == target and row["site"] >= 0],
            PREDICTOR_WORDS,
        )
        for target, words in TARGET_WORDS.items()
    )
    columns = {
        "words": "predictor",
        "target": "effect",
        "where": "site",
        "spearman": "rank r",
        "interval": "95% interval",
        "pearson_smoothed": "smoothed r",
        "pearson": "r",
        "null_std": "null sd of smoothed r",
        "share_significant": "share p < 0.05",
    }
    shown_rows = [
        {
            **row,
            "words": PREDICTOR_WORDS[row["predictor"]],
            "where": "all" if row["site"] == -1 else str(row["site"]),
            "interval": interval_words(row["spearman_ci"]).removeprefix("95% interval "),
        }
        for row in rows
    ]
    lead = (
        "None of these needs a forward pass. Rank correlation over the channels of a site, mean over classes, with "
        "95% intervals over classes. Every predictor goes through the same test and the same null."
    )
    table = table_of("Every predictor against every effect", columns, shown_rows)
    return Section("predictors", "What foretells the effect of masking", lead, pictures, (table,))


def overlap(tables: Tables, summary: Mapping[str, Any]) -> Section | None:
    """Fig. 5a: overlap of top channels, similar classes side by side."""
    pairs, distances = tables["class_overlap"], centroid_distances(tables["class_centroids"])
    if pairs.empty or not summary["overlap"]:
        return None
    names = class_names(summary)
    everywhere = pairs[(pairs.site == -1) & (pairs.k == pairs[pairs.site == -1].k.max())]
    ids = common_classes(everywhere, distances)
    near = similar_together(distances.loc[ids, ids].to_numpy()) if distances is not None else range(len(ids))
    order = [ids[place] for place in near]
    pictures = []
    for criterion in OVERLAP_CRITERIA:
        own = everywhere[everywhere.criterion == criterion]
        if own.empty:
            continue
        matrix = pairs_as_matrix(own, order)
        labels = [names[class_id] for class_id in order]
        title = f"{CRITERION_WORDS[criterion].capitalize()} (%)"
        chance = float(own.overlap_by_chance.iloc[0])
        pictures.append(figures.overlap_heatmap(f"overlap-{criterion}", title, matrix, labels, chance))
    rows = [
        {**row, "words": CRITERION_WORDS[row["criterion"]], "where": "all" if row["site"] == -1 else str(row["site"])}
        for row in summary["overlap"]
    ]
    columns = {
        "words": "ranked by",
        "where": "site",
        "k": "k",
        "overlap": "mean overlap",
        "by_chance": "by chance",
        "similarity_spearman": "rank r with similarity",
        "similarity_p": "Mantel p",
    }
    lead = (
        f"Percent of each class's top {everywhere.k.max()} channels, over all sites, that two classes share. "
        "Classes are ordered "
        "so that those whose real images are alike sit together; colour starts where chance ends. The table asks "
        "whether overlap follows that similarity."
    )
    table = table_of("Overlap against chance and against the similarity of the real classes", columns, rows)
    return Section("overlap", "Which classes share channels", lead, tuple(pictures), (table,))


def sharing(tables: Tables, summary: Mapping[str, Any]) -> Section | None:
    """Table 1 and Appendix C: channels in the top set of every class."""
    shared = tables["shared_channels"]
    if shared.empty:
        return None
    k = min(shared.k.unique(), key=lambda size: abs(size - 10))
    sites = sorted(shared.site.unique())
    rows = []
    for criterion, words in CRITERION_WORDS.items():
        own = shared[(shared.criterion == criterion) & (shared.k == k)].set_index("site")
        if len(own):
            by_site = {f"s{site}": int(own.shared[site]) if site in own.index else None for site in sites}
            rows.append(
                {"words": words, **by_site, "total": int(own.shared.sum()), "chance": own.shared_by_chance.sum()}
            )
    columns = {
        "words": "ranked by",
        **{f"s{site}": f"L{site}" for site in sites},
        "total": "all",
        "chance": "by chance",
    }
    caption = f"Channels in the top {k} of every class, by site (the form of the paper's Table 1)"
    picture = figures.shared_lines("shared", "Shared by all classes, all sites", summary["sharing"], CRITERION_WORDS)
    lead = "A channel counts where it is among the top k of its site for every class at once."
    return Section("sharing", "Channels shared by all classes", lead, (picture,), (table_of(caption, columns, rows),))


def quality(tables: Tables, summary: Mapping[str, Any]) -> Section | None:
    """Class metrics, their floor, and their correlation with total awareness (Fig. 10)."""
    metrics, floor = tables["class_metrics"], tables["class_metric_floor"]
    if metrics.empty:
        return None
    pictures = []
    for row in summary["metric_correlation"] or []:
        if row["metric"] in METRIC_SIGNS:
            x, y = metrics.total_awareness.to_numpy(), metrics[row["metric"]].to_numpy(dtype=np.float64)
            r = f"{signed(row['pearson'])} [{signed(row['ci_low'])}, {signed(row['ci_high'])}]"
            label = row["metric"].upper().replace("_", "-") if row["metric"] in ("fid", "ms_ssim") else row["metric"]
            pictures.append(figures.metric_scatter(f"metric-{row['metric']}", label, x, y, list(metrics.class_name), r))
    halves = floor.pivot(index="class_id", columns="comparison", values="fid")
    joined = records(metrics.merge(halves.add_prefix("fid_"), left_on="class_id", right_index=True))
    columns = {
        "class_name": "class",
        "total_awareness": "total awareness",
        "classifier_accuracy": "accuracy",
        "precision": "precision",
        "recall": "recall",
        "density": "density",
        "coverage": "coverage",
        "fid": "FID",
        "fid_fake_real": "FID, half the fakes",
        "fid_real_real": "FID, reals against reals",
        "kid": "KID",
        "ms_ssim": "MS-SSIM",
        "n_real": "n real",
        "n_fake": "n fake",
    }
    correlations = {"metric": "metric", "pearson": "r", "ci_low": "95% from", "ci_high": "to", "spearman": "rank r"}
    found = [table_of("Quality and diversity by class", columns, joined)]
    if summary["metric_correlation"]:
        rows = summary["metric_correlation"]
        found.append(
            table_of("Correlation with total awareness over classes", {**correlations, "n_classes": "n"}, rows)
        )
    floors = [{"metric": name, **values} for name, values in summary["class_metrics"].items()]
    found.append(table_of("Mean over classes, and the same at half the samples", FLOOR_COLUMNS, floors))
    lead = (
        "Features and classifications come from the evaluator below, so distances compare with other audits of the "
        "same protocol only. FID grows as samples get fewer: the last two FID columns compare at equal size, and the "
        f"distance of real images from themselves is the floor. Protocol: {metrics.protocol.iloc[0]}."
    )
    return Section("quality", "Quality, diversity and total awareness", lead, tuple(pictures), tuple(found))


def heavy_tails(tables: Tables, summary: Mapping[str, Any]) -> Section | None:  # noqa: ARG001
    """Where gains change sign, and what it does to sampled awareness."""
    tails = summary["heavy_tails"]
    if not tails:
        return None
    rows = [{"site": int(site), "share": share} for site, share in tails["by_site"].items()]
    columns = {"site": "site", "share": "share of channels and classes"}
    table = table_of("Share with P(gain ≤ 0) above 0.001, by site", columns, rows, digits=4)
    lead = (
        "Awareness is the mean of offset / gain, a ratio of normal variables. Where the gain can cross zero that ratio "
        "has no finite variance, and a sampled mean depends on its worst sample. The closed form (a principal value) "
        "does not; the robust latent awareness, from quartiles, is finite everywhere."
    )
    return Section("tails", "Gains that change sign", lead, (), (table,))


ALL_SECTIONS = (samples, masking_gallery, curves, predictors, overlap, sharing, quality, heavy_tails)
"""In the order of the page."""
