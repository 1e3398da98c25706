"""The report: one self-contained page that loads nothing from the network."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from cawa_core.digests import digest_of_data
from cawa_core.rendering.class_browser import class_browser
from cawa_core.rendering.class_facts import ClassFacts
from cawa_core.rendering.html_tables import records, table_of
from cawa_core.rendering.palette import css_variables
from cawa_core.rendering.sections import Section, class_names
from cawa_core.tables.audit_record import AuditRecord

FOLDER = Path(__file__).parent
MANY_CLASSES = 30
"""Number of classes from which on the page begins with them: with many, the first question is which ones are bad."""


@dataclasses.dataclass(frozen=True)
class Report:
    """The page, and the files beside it.

    Attributes:
        html: the page.
        files: content by path in the folder of figures.
        undrawable: characters of the figures that no installed font has.
    """

    html: str
    files: Mapping[str, bytes]
    undrawable: frozenset[str]


def build_report(
    sections: Sequence[Section], facts: ClassFacts, summary: Mapping[str, Any], audit: AuditRecord, sites: pd.DataFrame
) -> Report:
    """Render the report of an audit.

    Args:
        sections: sections between the claims and the provenance, in order.
        facts: facts about single classes.
        summary: content of ``summary.json``.
        audit: content of ``audit.json``.
        sites: table ``sites``.
    """
    names = class_names(summary)
    browser = class_browser(facts, {class_id: names[class_id] for class_id in summary["classes"]}, audit.wordnet_ids)
    html = (
        page_environment()
        .get_template("report.html")
        .render(
            summary=summary,
            summary_digest=summary_digest(summary),
            sections=sections,
            progress=_progress_words(summary.get("incomplete")),
            browser=browser,
            begins_with_classes=len(summary["classes"]) >= MANY_CLASSES,
            browser_script=_text("class_browser.js"),
            map_script=_text("pair_map.js"),
            provenance=_provenance(sites, summary, audit),
            **page_style(),
        )
    )
    files = dict(browser.files) if browser else {}
    undrawable: set[str] = set()
    for picture in (picture for section in sections for picture in section.figures):
        files |= {f"{picture.name}.svg": picture.svg.encode(), f"{picture.name}.png": picture.png}
        undrawable |= picture.undrawable
    return Report(html, files, frozenset(undrawable))


def page_environment() -> Environment:
    """Return the environment of the page templates, which share macros in ``parts.html``."""
    return Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def page_style() -> dict[str, str]:
    """Return the colours, style and script that ``parts.html`` and the pages insert."""
    return {
        "light": css_variables("light"),
        "dark": css_variables("dark"),
        "style": _text("report.css"),
        "script": _text("report.js"),
    }


def _text(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


def summary_digest(summary: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a summary; the page contains it, so that a stale page can be recognised."""
    return digest_of_data(summary)


def _progress_words(incomplete: Mapping[str, Any] | None) -> str:
    """Say how many classes are complete, in all and by stage; empty if all are."""
    if not incomplete:
        return ""

    def words(counts: Mapping[str, int]) -> str:
        return f"{counts['classes_complete']:,} of {counts['classes']:,}"

    stages = ", ".join(f"{stage} {words(counts)}" for stage, counts in incomplete["stages"].items())
    return f"{words(incomplete)} classes complete; {stages}"


def _provenance(sites: pd.DataFrame, summary: Mapping[str, Any], audit: AuditRecord) -> list[Any]:
    counted = records(sites.assign(inert=sites.inert_channels.map(len)))
    columns = {
        "site": "site",
        "name": "module",
        "channels": "channels",
        "resolution": "pixels per side",
        "inert": "inert channels",
    }
    facts = {
        **{name: setting_in_words(value) for name, value in audit.identity.named().items()},
        **{f"version of {name}": number for name, number in audit.versions.items()},
        **{f"worker seconds in {stage}": f"{seconds:.1f}" for stage, seconds in summary["seconds"].items()},
        "device": audit.device,
        "audit": audit.hash,
    }
    rows = [{"setting": name, "value": value} for name, value in facts.items()]
    return [
        table_of("Sites", columns, counted),
        table_of("Spec, inputs and environment", {"setting": "setting", "value": "value"}, rows),
    ]


def setting_in_words(value: Any) -> str:  # noqa: ANN401
    """Put a setting into words, with three or more consecutive numbers of a list as one range."""
    if not isinstance(value, list):
        return str(value)
    if not all(type(item) is int for item in value):
        return ", ".join(map(str, value))
    parts: list[str] = []
    for _, run in itertools.groupby(enumerate(value), key=lambda place: place[1] - place[0]):
        numbers = [number for _, number in run]
        parts += [f"{numbers[0]} to {numbers[-1]}"] if len(numbers) > 2 else map(str, numbers)
    return ", ".join(parts)
