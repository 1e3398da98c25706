"""Channels that all classes have in common (Table 1, Appendix C)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from cawa_core.errors import counted
from cawa_core.rendering.claims import FAILS, HOLDS, IN_PART, Claim
from cawa_core.rendering.figures import SIZE, Picture, draw
from cawa_core.rendering.html_tables import records, table_of
from cawa_core.rendering.palette import light
from cawa_core.rendering.sections import Section, Tables
from cawa_core.tables import Manifest
from workflows.analyses.shared_channels import SHARED_CHANNELS, SHARED_CHANNELS_TABLE, SharedChannelOptions
from workflows.interface import Content, Findings, Results
from workflows.results.rankings import CRITERION_WORDS

FEW_SHARED = 0.25
"""Channels shared by category awareness are few if they are at most this share of those by latent awareness."""


class SharedChannelsResults(Results[SharedChannelOptions]):
    """Channels in the top set of every class."""

    def summary(self, findings: Findings) -> Content:
        """Summarise the counts of shared channels."""
        return {"sharing": sharing(findings.manifest.table(SHARED_CHANNELS_TABLE.name))}

    def claims(self, summary: Content) -> Sequence[Claim]:
        """Decide whether classes share channels that respond to the latent code."""
        rows = summary.get("sharing")
        return sharing_claims(rows) if rows else []

    def shown(self, manifest: Manifest) -> Tables:
        """Read the counts of all sites."""
        return {SHARED_CHANNELS_TABLE.name: manifest.table(SHARED_CHANNELS_TABLE.name)}

    def sections(self, tables: Tables, summary: Content) -> Sequence[Section]:
        """Build the section on Table 1 and Appendix C."""
        shared = tables[SHARED_CHANNELS_TABLE.name]
        return [] if shared.empty else [sharing_section(shared, summary)]


def sharing(shared: pd.DataFrame) -> list[dict[str, Any]] | None:
    """Count the channels that all classes share, summed over sites, by criterion and k, with the count by chance."""
    if not len(shared):
        return None
    sums = shared.groupby(["criterion", "k"], as_index=False).agg(
        shared=("shared", "sum"),
        by_chance=("shared_by_chance", "sum"),
        n_sites=("site", "nunique"),
        n_classes=("n_classes", "min"),
    )
    return records(sums)


def sharing_claims(rows: Sequence[Mapping[str, Any]]) -> list[Claim]:
    """Decide whether all classes share channels by latent awareness, and few by category awareness, in their top 10.

    The shared channels by latent awareness must be more than twice as many as by chance.
    """
    at_ten = {row["criterion"]: row for row in rows if row["k"] == 10}
    if not {"latent_highest", "category_highest"} <= set(at_ten):
        return []
    latent = at_ten["latent_highest"]
    category = at_ten["category_highest"]
    if latent["n_classes"] < 2:
        return []
    enough = latent["shared"] > max(1.0, 2 * latent["by_chance"])
    few = category["shared"] <= FEW_SHARED * latent["shared"]
    verdict = HOLDS if enough and few else IN_PART if enough else FAILS
    evidence = (
        "Channels that are among the top 10 of their site for every class, summed over "
        f"{counted(latent['n_sites'], 'site')}: {latent['shared']} by latent awareness and {category['shared']} by "
        f"category awareness; {latent['by_chance']:.2g} would be expected by chance."
    )
    claim = "All classes share channels that respond to the latent code, and few or none that respond to the class."
    return [Claim(claim, verdict, evidence, "Sec. 4.2, Table 1")]


def sharing_section(shared: pd.DataFrame, summary: Content) -> Section:
    """Build the section on Table 1 and Appendix C: channels in the top set of every class."""
    k = min(shared.k.unique(), key=lambda size: abs(size - 10))
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
    picture = shared_lines("shared", "Shared by all classes, summed over sites", summary["sharing"])
    lead = "A channel is shared if it is among the top k of its site for every class."
    table = table_of(caption, columns, rows)
    return Section(SHARED_CHANNELS.name, "Channels shared by all classes", lead, (picture,), (table,))


def shared_lines(name: str, title: str, rows: Sequence[Mapping[str, Any]]) -> Picture:
    """Draw the number of channels that all classes share by size of the top set, summed over sites (Appendix C)."""
    colours = dict(zip(CRITERION_WORDS, ("blue", "muted", "red", "amber", "green"), strict=True))

    def paint(axes: Axes) -> None:
        for criterion, label in CRITERION_WORDS.items():
            selected = sorted((row for row in rows if row["criterion"] == criterion), key=lambda row: row["k"])
            if selected:
                x = [row["k"] for row in selected]
                y = [row["shared"] for row in selected]
                axes.plot(x, y, "o-", color=light(colours[criterion]), markersize=4, linewidth=1.4, label=label)
        axes.set(title=title, xlabel="k, size of each class's top set per site", ylabel="channels shared by all")
        axes.legend(loc="upper left")

    return draw(name, f"{title}: number of shared channels by k, for each criterion", SIZE, paint)
