"""Comparison of two audits, written to ``compare.json``, ``compare.md`` and ``compare.html``."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from cawa_core.errors import InputError
from cawa_core.rendering.html_tables import records
from cawa_core.storage import Folder, Storage, StorageRefusedError, open_storage
from cawa_core.storage.plain_data import plain
from workflows.analyses import ANALYSES
from workflows.compare.options import ComparisonSpec, thresholds_of
from workflows.compare.page import page
from workflows.compare.pairing import Audit, Pair, pair
from workflows.compare.results import judged_rows
from workflows.compare.wording import markdown, seed_words, verdict_line
from workflows.folders.folder import AUDIT
from workflows.interface import Content

COMPARISONS = "comparisons"
"""Subfolder of an audit folder that holds its comparisons, unless another output is given."""


@dataclasses.dataclass(frozen=True)
class ComparisonResult:
    """Result of a comparison.

    Attributes:
        storage: folder with the files of the comparison.
        sentence: the verdict in one line.
        is_worse: whether any regression was found.
        content: content of ``compare.json``.
    """

    storage: Storage
    sentence: str
    is_worse: bool
    content: dict[str, Any]


def compare(base: Folder, new: Folder, spec: ComparisonSpec, output: str = "") -> ComparisonResult:
    """Compare the audits of two checkpoints of one architecture and write the result.

    Args:
        base, new: audit folders; new is judged against base.
        spec: false discovery rate and thresholds.
        output: folder or URL; default ``comparisons/<hash of base>`` in the folder of the new audit.

    Raises:
        InputError: the audits cannot be compared, or the output cannot be written.
    """
    both = pair(base, new)
    for analysis in both.analyses:
        analysis.make_comparison().check(both)
    storage = _output(both, output)
    content = contrast(both, spec)
    files = {
        "compare.json": json.dumps(content, indent=1, allow_nan=False),
        "compare.md": markdown(content),
        "compare.html": page(content),
    }
    try:
        for name, text in files.items():
            storage.write(name, text.encode())
    except StorageRefusedError as error:
        raise InputError(f"output cannot be written: {error}; choose another --output") from None
    return ComparisonResult(storage, content["sentence"], content["is_worse"], content)


def _output(both: Pair, output: str) -> Storage:
    subfolder = f"{COMPARISONS}/{both.base.hash[:12]}"
    if not output:
        both.new.manifest.storage.require_contained(subfolder)
    storage = open_storage(output or f"{both.new.url}/{subfolder}")
    storage.require_folder()
    if storage.exists(AUDIT):
        raise InputError(
            f"output must not be an audit folder; {storage.url} is an audit folder, choose another --output"
        )
    return storage


def contrast(both: Pair, spec: ComparisonSpec) -> dict[str, Any]:
    """Return the content of ``compare.json``; entries of an analysis that is not in both audits are None."""
    content: dict[str, Any] = {
        "base": _provenance(both.base),
        "new": _provenance(both.new),
        "spec": dataclasses.asdict(spec),
        "differing_options": both.differing,
        "compared": [analysis.name for analysis in both.analyses],
        "not_compared": both.not_compared,
        "class_names": both.class_names,
        "sites": records(both.sites[["site", "name", "channels", "resolution"]]),
    }
    for analysis in ANALYSES.values():
        if not analysis.comparison:
            continue
        comparison = analysis.make_comparison()
        entries: Content = dict.fromkeys(comparison.ENTRIES)
        if analysis in both.analyses:
            entries = comparison.contrast(both, thresholds_of(spec, analysis), spec.false_discovery_rate)
        _insert(content, analysis.name, entries)
    content = plain(content)
    rows = judged_rows(content)
    regressions = [row for row in rows if row["verdict"] == "worse"]
    moved = any(analysis.make_comparison().has_moved(content) for analysis in both.analyses)
    sentence = verdict_line(rows, moved) + seed_words(content["base"], content["new"])
    verdict = {
        "sentence": sentence,
        "is_worse": bool(regressions),
        "same_seed": content["base"]["seed"] == content["new"]["seed"],
        "same_weights": content["base"]["generator_digest"] == content["new"]["generator_digest"],
        "regressions": regressions,
    }
    return verdict | content


def _insert(content: dict[str, Any], name: str, entries: Mapping[str, Any]) -> None:
    """Add entries of an analysis to the content; a dot in a name leads into a nested entry."""
    for path, value in entries.items():
        *outer, last = path.split(".")
        place = content
        for key in outer:
            place = place.setdefault(key, {})
        if last in place:
            raise ValueError(f"entry {path!r} of analysis {name!r} is taken; choose another name")
        place[last] = value


def _provenance(audit: Audit) -> dict[str, Any]:
    return {
        "folder": audit.url,
        "audit": audit.hash,
        "tables": audit.manifest.digest(),
        "generator": audit.spec["generator"],
        "generator_digest": audit.record.identity.digests["generator"],
        "seed": audit.spec["seed"],
    }
