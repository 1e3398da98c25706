"""Comparison of each class's top channels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cawa_core.errors import InputError, listed
from cawa_core.rendering.sections import Section
from workflows.analyses.awareness import AWARENESS, AWARENESS_TABLE
from workflows.analyses.awareness.channel_sets import set_changes, set_summary, set_summary_by_class
from workflows.analyses.awareness.turnover import PAIRS
from workflows.compare.pairing import Audit, Pair
from workflows.compare.tables import markdown_table, table_of_first
from workflows.interface import Comparison, Content, NoOptions


class AwarenessComparison(Comparison[NoOptions]):
    """Comparison of the top channels of each class by awareness, and by masking if both audits have it."""

    ENTRIES = ("sampled_sites", "channel_sets")

    def check(self, pair: Pair) -> None:
        """Check that awareness is sampled as often in both audits, if it is sampled at all.

        Raises:
            InputError: it is not.
        """
        sampled = sampled_sites(pair)
        base, new = (audit.option(AWARENESS, "awareness_samples") for audit in (pair.base, pair.new))
        if sampled and base != new:
            raise InputError(
                f"base and new must have the same awareness_samples, because awareness is sampled at sites "
                f"{listed(sampled)}; got {base} in base, {new} in new. "
                f"Audit again with the spec of {pair.base.url}"
            )

    def contrast(self, pair: Pair, thresholds: NoOptions, level: float) -> Content:  # noqa: ARG002
        """Compare the top sets at every site (:mod:`workflows.analyses.awareness.channel_sets`)."""
        sampled = sampled_sites(pair)
        sets = set_changes(pair, sampled or ())
        by_site_and_class = {"by_site": set_summary(sets), "by_class": set_summary_by_class(sets)}
        return {"sampled_sites": sampled, "channel_sets": by_site_and_class}

    def has_moved(self, content: Content) -> bool:
        """Return whether any top set differs."""
        return any(row["least_overlap"] < 1 for row in content["channel_sets"]["by_site"])

    def sections(self, content: Content) -> list[Section]:
        """Show the overlap of top sets by site and by class, beside that under noise alone."""
        names = content["class_names"]
        sets = content["channel_sets"]
        sites = [row | {"least_class": names[str(row["least_class_id"])]} for row in sets["by_site"]]
        classes = [row | {"class": names[str(row["class_id"])]} for row in sets["by_class"]]
        shared = {"criterion": "criterion", "k": "k"}
        by_site = {
            "site": "site",
            "mean_overlap": "mean over classes",
            "expected_overlap": "by noise alone",
            "n_moved": "classes that moved",
            "n_judged": "of",
            "least_overlap": "least",
            "least_class": "of class",
            "overlap_by_chance": "by chance",
        }
        lead = (
            "Share of each class's k highest channels that both audits have in common, next to the share expected "
            f"under noise alone. {set_words(content)} A class has moved if it shares fewer channels than in any of "
            f"{2 * PAIRS} draws of noise."
        )
        overlap = {"mean_overlap": "mean overlap", "expected_overlap": "by noise alone"}
        tables = (
            table_of_first("By site, the most moved first", shared | by_site, sites),
            table_of_first("By class, mean over sites", {"class": "class"} | shared | overlap, classes),
        )
        return [Section("sets", "Top channels", lead, tables=tables)]

    def markdown(self, content: Content) -> Iterator[tuple[str, str]]:
        """List the sites where top sets moved."""
        moved = [row for row in content["channel_sets"]["by_site"] if row["n_moved"]]
        columns = ["criterion", "k", "site", "mean_overlap", "expected_overlap", "n_moved", "n_judged"]
        columns += ["least_overlap", "overlap_by_chance"]
        yield "Channels", f"Top channels that moved, by site. {set_words(content)}\n"
        yield "Channels", markdown_table(moved, columns)


def sampled_sites(pair: Pair) -> tuple[int, ...] | None:
    """Return the sites where awareness is sampled for lack of a closed form.

    Returns:
        None if neither the tables nor the options of both audits tell.
    """
    sites: set[int] = set()
    for audit in (pair.base, pair.new):
        if audit.has(AWARENESS):
            sites |= {site for site in map(int, pair.sites.site) if not _has_closed_form(audit, site)}
        elif "monte_carlo" in audit.option(AWARENESS, "awareness_estimators"):  # else it covers affine sites only
            return None
    return tuple(sorted(sites))


def _has_closed_form(audit: Audit, site: int) -> bool:
    class_ids = audit.record.analyses[AWARENESS.name].class_ids[:1]
    rows = audit.manifest.rows(AWARENESS_TABLE.name, ["estimator"], [site], class_ids)
    return "closed_form" in rows["estimator"].to_pylist()


def set_words(content: Content) -> str:
    """Say which top sets are exact."""
    sampled = content["sampled_sites"]
    if not sampled:
        return (
            "Category awareness and expected activation are exact, so only weights move them; the effect of masking is "
            "sampled and moves with the seed."
        )
    return (
        f"Awareness is sampled at {site_words(sampled)} and moves with the seed there, as the effect of masking does; "
        "at other sites only weights move it."
    )


def site_words(sites: Sequence[int]) -> str:
    """List sites in words."""
    return f"site {sites[0]}" if len(sites) == 1 else f"sites {', '.join(map(str, sites))}"
