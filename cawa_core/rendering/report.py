"""The report: one self-contained page that loads nothing from the network."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from cawa_core.digests import digest_of_data
from cawa_core.rendering.figures import Picture
from cawa_core.rendering.html_tables import records, table_of
from cawa_core.rendering.palette import css_variables
from cawa_core.rendering.sections import Section
from cawa_core.tables.audit_record import AuditRecord

FOLDER = Path(__file__).parent


@dataclasses.dataclass(frozen=True)
class Report:
    """The page, and its figures for use elsewhere."""

    html: str
    pictures: tuple[Picture, ...]


def build_report(
    sections: Sequence[Section], summary: Mapping[str, Any], audit: AuditRecord, sites: pd.DataFrame
) -> Report:
    """Render the report of an audit.

    Args:
        sections: sections between the claims and the provenance, in order.
        summary: content of ``summary.json``.
        audit: content of ``audit.json``.
        sites: table ``sites``.
    """
    html = (
        page_environment()
        .get_template("report.html")
        .render(
            summary=summary,
            summary_digest=summary_digest(summary),
            sections=sections,
            provenance=_provenance(sites, summary, audit),
            **page_style(),
        )
    )
    return Report(html, tuple(picture for section in sections for picture in section.figures))


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
        "style": (FOLDER / "report.css").read_text(encoding="utf-8"),
        "script": (FOLDER / "report.js").read_text(encoding="utf-8"),
    }


def summary_digest(summary: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a summary; the page contains it, so that a stale page can be recognised."""
    return digest_of_data(summary)


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
        **{name: _words(value) for name, value in audit.identity.named().items()},
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


def _words(value: Any) -> str:  # noqa: ANN401
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
