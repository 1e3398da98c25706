"""In the top sets of how many classes each channel is; those of all classes are the paper's (Table 1, Appendix C)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import pandas as pd
import pyarrow.compute as pc
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from cawa_core.errors import counted
from cawa_core.rendering.claims import Claim
from cawa_core.rendering.figures import SIZE, Picture, draw
from cawa_core.rendering.html_tables import HtmlTable, records, table_of
from cawa_core.rendering.palette import light
from cawa_core.rendering.sections import Section, Tables
from cawa_core.statistics.overlap import classes_of_share, shared_by_chance
from cawa_core.statistics.verdicts import FAILS, HOLDS, IN_PART
from cawa_core.tables import Manifest
from workflows.analyses.shared_channels import (
    SHARED_CHANNELS,
    SHARED_CHANNELS_TABLE,
    TOP_CHANNEL_POPULARITY_TABLE,
    SharedChannelOptions,
)
from workflows.interface import Content, Findings, Results
from workflows.results.rankings import CRITERION_WORDS

FEW_SHARED = 0.25
"""Channels shared by category awareness are few if they are at most this share of those by latent awareness."""
PUBLISHED_K = 10
"""Size of the top sets in the paper's Table 1."""
SHARES = tuple(share / 20 for share in range(1, 21))
"""Shares of the classes at which the distribution is summarised."""
LISTED_SHARES = {"some": 0.0, "quarter": 0.25, "half": 0.5, "nine_tenths": 0.9, "all": 1.0}
SHARE_HEADINGS = {
    "some": "one class",
    "quarter": "a quarter",
    "half": "half",
    "nine_tenths": "nine tenths",
    "all": "all (Table 1)",
}
MOST_CHANNELS = 10
"""Most channels that are listed by each criterion."""


class SharedChannelsResults(Results[SharedChannelOptions]):
    """In the top sets of how many classes each channel is."""

    def summary(self, findings: Findings) -> Content:
        """Summarise the counts of shared channels, and their distribution over classes."""
        shared = findings.manifest.table(SHARED_CHANNELS_TABLE.name)
        return {
            "sharing": sharing(shared),
            "sharing_distribution": sharing_distribution(shared, popular_channels(findings.manifest)),
        }

    def claims(self, summary: Content) -> Sequence[Claim]:
        """Decide whether classes share channels that respond to the latent code."""
        rows = summary.get("sharing")
        return sharing_claims(rows) if rows else []

    def shown(self, manifest: Manifest) -> Tables:
        """Read the counts of all sites, and the channels in the top sets of the published size."""
        return {
            SHARED_CHANNELS_TABLE.name: manifest.table(SHARED_CHANNELS_TABLE.name),
            TOP_CHANNEL_POPULARITY_TABLE.name: popular_channels(manifest),
        }

    def sections(self, tables: Tables, summary: Content) -> Sequence[Section]:
        """Build the section on shared channels."""
        shared = tables[SHARED_CHANNELS_TABLE.name]
        return [] if shared.empty else [sharing_section(shared, tables[TOP_CHANNEL_POPULARITY_TABLE.name], summary)]


def shown_size(sizes: Sequence[int]) -> int:
    """Return the size of the top sets that is closest to the published one."""
    return min(sizes, key=lambda k: (abs(k - PUBLISHED_K), k))


def popular_channels(manifest: Manifest) -> pd.DataFrame:
    """Read ``top_channel_popularity`` for the size of the top sets that is shown, of those in ``shared_channels``."""
    sizes = manifest.rows(SHARED_CHANNELS_TABLE.name, ["k"])["k"].unique().to_pylist()
    rows = manifest.rows(TOP_CHANNEL_POPULARITY_TABLE.name)
    if not sizes:
        return cast(pd.DataFrame, rows.to_pandas())
    frame: pd.DataFrame = rows.filter(pc.equal(rows["k"], shown_size(sizes))).to_pandas()
    return frame.sort_values(list(TOP_CHANNEL_POPULARITY_TABLE.key), ignore_index=True)


def sharing(shared: pd.DataFrame) -> list[dict[str, Any]] | None:
    """Count the channels that classes share, summed over sites, by criterion and k, with the counts by chance."""
    if not len(shared):
        return None
    sums = shared.groupby(["criterion", "k"], as_index=False).agg(
        shared=("shared", "sum"),
        by_chance=("shared_by_chance", "sum"),
        in_nine_tenths=("in_nine_tenths", "sum"),
        in_nine_tenths_by_chance=("in_nine_tenths_by_chance", "sum"),
        in_half=("in_half", "sum"),
        in_half_by_chance=("in_half_by_chance", "sum"),
        n_sites=("site", "nunique"),
        n_classes=("n_classes", "min"),
    )
    return records(sums)


def sharing_distribution(shared: pd.DataFrame, popularity: pd.DataFrame) -> list[dict[str, Any]] | None:
    """Count the channels in the top sets of at least some shares of the classes, summed over sites, by criterion.

    Args:
        shared: table ``shared_channels``.
        popularity: :func:`popular_channels`.

    Returns:
        One row per criterion and share, with ``k``, ``channels``, and ``by_chance``: the number expected if the top
        sets were random. A share of 0 stands for one class.
    """
    if popularity.empty:
        return None
    k = int(popularity.k.iloc[0])
    rows = []
    for criterion, sites in shared[shared.k == k].groupby("criterion", sort=True):
        of_criterion = popularity[popularity.criterion == criterion]
        counts = {site: part.n_classes.to_numpy() for site, part in of_criterion.groupby("site")}
        for share in sorted({*SHARES, *LISTED_SHARES.values()}):
            channels = 0
            by_chance = 0.0
            for site in records(sites):
                fewest = classes_of_share(share, site["n_classes"])
                channels += int((counts[site["site"]] >= fewest).sum())
                by_chance += shared_by_chance(site["n_channels"], k, site["n_classes"], fewest)
            rows.append({"criterion": criterion, "k": k, "share": share, "channels": channels, "by_chance": by_chance})
    return rows


def sharing_claims(rows: Sequence[Mapping[str, Any]]) -> list[Claim]:
    """Decide whether classes share channels by latent awareness, and few by category awareness, in their top 10.

    Channels are shared if more than twice as many as by chance are in the top 10 of at least nine tenths of the
    classes, so that a few unusual classes do not decide. The claim holds in part if category awareness gives too many
    of them, or if channels are shared, in the same sense, only by at least half of the classes.
    """
    at_ten = {row["criterion"]: row for row in rows if row["k"] == PUBLISHED_K}
    if not {"latent_highest", "category_highest"} <= set(at_ten):
        return []
    latent = at_ten["latent_highest"]
    category = at_ten["category_highest"]
    if latent["n_classes"] < 2:
        return []
    enough = {name: latent[name] > max(1.0, 2 * latent[f"{name}_by_chance"]) for name in ("in_nine_tenths", "in_half")}
    few = {name: category[name] <= FEW_SHARED * latent[name] for name in enough}
    verdict = FAILS
    if enough["in_nine_tenths"]:
        verdict = HOLDS if few["in_nine_tenths"] else IN_PART
    elif enough["in_half"] and few["in_half"]:
        verdict = IN_PART
    evidence = (
        f"Channels among the top {PUBLISHED_K} of their site, summed over {counted(latent['n_sites'], 'site')}. By "
        f"latent awareness, {latent['in_nine_tenths']} are shared by at least nine tenths of "
        f"{counted(latent['n_classes'], 'class')}, {latent['in_half']} by at least half, and {latent['shared']} by "
        f"all; by category awareness, {category['in_nine_tenths']}, {category['in_half']} and {category['shared']}. By "
        f"chance there would be {latent['in_nine_tenths_by_chance']:.2g} for nine tenths and "
        f"{latent['in_half_by_chance']:.2g} for half. Table 1 counts those shared by all."
    )
    claim = "All classes share channels that respond to the latent code, and few or none that respond to the class."
    return [Claim(claim, verdict, evidence, "Sec. 4.2, Table 1")]


def sharing_section(shared: pd.DataFrame, popularity: pd.DataFrame, summary: Content) -> Section:
    """Build the section on shared channels, with Table 1 and Appendix C.

    Args:
        shared: table ``shared_channels``.
        popularity: :func:`popular_channels`.
        summary: content of ``summary.json``.
    """
    k = shown_size(sorted(shared.k.unique()))
    distribution = summary["sharing_distribution"]
    pictures = (
        sharing_curves("sharing", f"Channels in the top {k} of their site", distribution),
        shared_lines("shared", "Shared by all classes, summed over sites", summary["sharing"]),
    )
    tables = (_distribution_table(distribution, k), _site_table(shared, k), _channel_table(popularity, k))
    lead = (
        f"Each class ranks the channels of a site; a channel can be among the top {k} of no class, of some, or of all. "
        "The curves show how many channels at least a given share of the classes have in common, and how many if "
        "every class's top channels were random (a binomial distribution). The paper counts those of all classes, the "
        "right end of each curve; with many classes, there may be none, although most classes share some."
    )
    return Section(SHARED_CHANNELS.name, "Channels that classes share", lead, pictures, tables)


def _distribution_table(distribution: Sequence[Mapping[str, Any]], k: int) -> HtmlTable:
    rows: list[dict[str, Any]] = []
    for criterion, words in CRITERION_WORDS.items():
        at = {row["share"]: row for row in distribution if row["criterion"] == criterion}
        if at:
            rows.append({"words": words, **{name: at[share]["channels"] for name, share in LISTED_SHARES.items()}})
            chance = {name: round(at[share]["by_chance"], 4) for name, share in LISTED_SHARES.items()}
            rows.append({"words": f"{words}, by chance", **chance})
    caption = f"Channels in the top {k} of at least so many classes, summed over sites"
    return table_of(caption, {"words": "ranked by", **SHARE_HEADINGS}, rows, digits=2)


def _site_table(shared: pd.DataFrame, k: int) -> HtmlTable:
    sites = sorted(shared.site.unique())
    rows = []
    for criterion, words in CRITERION_WORDS.items():
        counts = shared[(shared.criterion == criterion) & (shared.k == k)].set_index("site")
        if len(counts):
            by_site = {f"s{site}": int(counts.shared[site]) if site in counts.index else None for site in sites}
            total = int(counts.shared.sum())
            rows.append({"words": words, **by_site, "total": total, "chance": counts.shared_by_chance.sum()})
    columns = {
        "words": "ranked by",
        **{f"s{site}": f"L{site}" for site in sites},
        "total": "all",
        "chance": "by chance",
    }
    caption = f"Channels in the top {k} of every class, by site (L0 is site 0, and so on, as in the paper's Table 1)"
    return table_of(caption, columns, rows)


def _channel_table(popularity: pd.DataFrame, k: int) -> HtmlTable:
    rows = []
    for criterion, words in CRITERION_WORDS.items():
        of_criterion = popularity[popularity.criterion == criterion]
        most = of_criterion.sort_values(["n_classes", "site", "channel"], ascending=[False, True, True])
        rows += [{**row, "words": words} for row in records(most.head(MOST_CHANNELS))]
    columns = {"words": "ranked by", "site": "site", "channel": "channel", "n_classes": "classes"}
    return table_of(f"The {MOST_CHANNELS} channels in the top {k} of the most classes, by each ranking", columns, rows)


COLOURS = dict(zip(CRITERION_WORDS, ("blue", "muted", "red", "amber", "green"), strict=True))
"""Criterion => colour of its line in both figures."""


def sharing_curves(name: str, title: str, rows: Sequence[Mapping[str, Any]]) -> Picture:
    """Draw how many channels are in the top sets of at least a share of the classes, beside the numbers by chance."""

    def paint(axes: Axes) -> None:
        for criterion, label in CRITERION_WORDS.items():
            selected = sorted((row for row in rows if row["criterion"] == criterion), key=lambda row: row["share"])
            x = [100 * row["share"] for row in selected]
            if selected:
                axes.plot(x, [row["channels"] for row in selected], color=light(COLOURS[criterion]), label=label)
        chance = {row["share"]: row["by_chance"] for row in rows}
        shares = sorted(chance)
        by_chance = [chance[share] for share in shares]
        axes.plot(100 * np.array(shares), by_chance, "--", color=light("ink"), linewidth=0.9, label="by chance")
        axes.set_yscale("symlog", linthresh=1)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))  # powers would need mathematics
        axes.set_ylim(0, 5000 * max(row["channels"] for row in rows))  # room for the legend
        axes.set(title=title, xlabel="at least so many of the classes (%)", ylabel="channels, all sites")
        axes.legend(loc="upper right")

    alt = f"{title}: number of channels that at least a share of the classes have in common, by criterion and by chance"
    return draw(name, alt, SIZE, paint)


def shared_lines(name: str, title: str, rows: Sequence[Mapping[str, Any]]) -> Picture:
    """Draw the number of channels that all classes share by size of the top set, summed over sites (Appendix C)."""

    def paint(axes: Axes) -> None:
        for criterion, label in CRITERION_WORDS.items():
            selected = sorted((row for row in rows if row["criterion"] == criterion), key=lambda row: row["k"])
            if selected:
                x = [row["k"] for row in selected]
                y = [row["shared"] for row in selected]
                axes.plot(x, y, "o-", color=light(COLOURS[criterion]), markersize=4, linewidth=1.4, label=label)
        axes.set(title=title, xlabel="k, size of each class's top set per site", ylabel="channels shared by all")
        axes.legend(loc="upper left")

    return draw(name, f"{title}: number of shared channels by k, for each criterion", SIZE, paint)
