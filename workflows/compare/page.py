"""``compare.html``: one self-contained page in the style of the audit's report."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from cawa_core.rendering.html_tables import table_of
from cawa_core.rendering.report import page_environment, page_style
from cawa_core.rendering.sections import Section
from workflows.analyses import ANALYSES
from workflows.compare.page_template import TEMPLATE
from workflows.compare.results import comparisons, judged_rows


def page(content: Mapping[str, Any]) -> str:
    """Render the page of a comparison.

    Args:
        content: content of ``compare.json``.
    """
    verdict = "worse" if content["is_worse"] else "not worse" if judged_rows(content) else "not judged"
    return (
        page_environment()
        .from_string(TEMPLATE)
        .render(
            comparison=content,
            verdict=verdict,
            sections=list(_sections(content)),
            **page_style(),
        )
    )


def _sections(content: Mapping[str, Any]) -> Iterator[Section]:
    by_anchor: dict[str, Section] = {}
    for comparison in comparisons(content):
        for section in comparison.sections(content):
            first = by_anchor.get(section.anchor)
            by_anchor[section.anchor] = section if first is None else _joined(first, section)
    yield from by_anchor.values()
    yield _provenance(content)


def _joined(first: Section, second: Section) -> Section:
    """Join two sections under the heading and the lead of the first."""
    return dataclasses.replace(first, figures=(*first.figures, *second.figures), tables=(*first.tables, *second.tables))


def _provenance(content: Mapping[str, Any]) -> Section:
    facts = [
        {"what": key.replace("_", " "), "base": str(value), "new": str(content["new"][key])}
        for key, value in content["base"].items()
    ]
    facts += [
        {"what": f"spec: {name}", "base": str(base), "new": str(new)}
        for name, (base, new) in content["differing_options"].items()
    ]
    tables = [table_of("The two audits", {"what": "what", "base": "base", "new": "new"}, facts)]
    if content["not_compared"]:
        reasons = [
            {"analysis": ANALYSES[name].title if name in ANALYSES else name, "reason": reason}
            for name, reason in content["not_compared"].items()
        ]
        tables.append(table_of("Not compared", {"analysis": "analysis", "reason": "why"}, reasons))
    lead = "The two audits that were compared. compare.json next to this page holds every number."
    return Section("provenance", "How it was made", lead, tables=tuple(tables))
