"""Comparison of two audits, written to ``compare.json``, ``compare.md`` and ``compare.html``."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pandas as pd

from cawa_core.errors import InputError
from cawa_core.plain_data import plain
from cawa_core.rendering.html_tables import records
from cawa_core.storage import Folder, Storage, StorageRefusedError, open_storage
from workflows.compare.channel_sets import set_changes, set_summary, set_summary_by_class
from workflows.compare.correlations import awareness_changes, masking_correlation_changes, metric_correlation_changes
from workflows.compare.masking import masking_changes
from workflows.compare.metrics import metric_changes
from workflows.compare.options import ComparisonSpec
from workflows.compare.page import page
from workflows.compare.pairing import Audit, Pair, pair
from workflows.compare.wording import markdown, verdict_line
from workflows.folder import AUDIT

COMPARISONS = "comparisons"
"""Subfolder of an audit folder that holds its comparisons, unless another output is given."""


@dataclasses.dataclass(frozen=True)
class Comparison:
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


def compare(base: Folder, new: Folder, spec: ComparisonSpec, output: str = "") -> Comparison:
    """Compare the audits of two checkpoints of one architecture and write the result.

    Args:
        base, new: audit folders; new is judged against base.
        spec: thresholds.
        output: folder or URL; default ``comparisons/<hash of base>`` in the folder of the new audit.

    Raises:
        InputError: the audits cannot be compared, or the output cannot be written.
    """
    both = pair(base, new)
    storage = _output(both, output)
    content = plain(contrast(both, spec))
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
    return Comparison(storage, content["sentence"], content["is_worse"], content)


def _output(both: Pair, output: str) -> Storage:
    storage = open_storage(output or f"{both.new.url}/{COMPARISONS}/{both.base.hash[:12]}")
    storage.require_folder()
    if storage.exists(AUDIT):
        raise InputError(
            f"output must not be an audit folder; {storage.url} is an audit folder, choose another --output"
        )
    return storage


def contrast(both: Pair, spec: ComparisonSpec) -> dict[str, Any]:
    """Return the content of ``compare.json``; a section whose stage is missing in either audit is None."""
    has_metrics = "class_metrics" in both.stages
    level = spec.false_discovery_rate
    metrics = _class_metrics(both, spec) if has_metrics else None
    classes = metrics["classes"] if metrics else []
    totals = metrics["totals"] if metrics else []
    has_masking = "masking" in both.stages
    effects = dataclasses.asdict(masking_changes(both, level)) if has_masking else None
    sets = set_changes(both) if "awareness" in both.stages else None
    regressions = [row for row in (*totals, *classes) if row["verdict"] == "worse"]
    return {
        "sentence": verdict_line(totals, classes, _any_moved(classes, effects, sets)),
        "is_worse": bool(regressions),
        "regressions": regressions,
        "base": _provenance(both.base),
        "new": _provenance(both.new),
        "spec": dataclasses.asdict(spec),
        "differing_options": both.differing,
        "class_names": both.class_names,
        "sites": records(both.sites[["site", "name", "channels", "resolution"]]),
        "class_metrics": metrics,
        "total_awareness": awareness_changes(*_tables(both, "class_metrics")) if has_metrics else None,
        "total_awareness_is_exact": both.total_is_exact,
        "sampled_sites": both.sampled_sites,
        "masking_effects": effects,
        "channel_sets": None
        if sets is None
        else {"by_site": set_summary(sets), "by_class": set_summary_by_class(sets)},
        "correlations": {
            "masking": masking_correlation_changes(*_tables(both, "masking_correlation"), level)
            if has_masking
            else None,
            "metrics": metric_correlation_changes(*_tables(both, "metric_correlation")) if has_metrics else None,
        },
    }


def _any_moved(classes: list[dict[str, Any]], effects: dict[str, Any] | None, sets: pd.DataFrame | None) -> bool:
    """Return whether any compared number differs at all."""
    return (
        any(row["verdict"] != "same" and np.isfinite([row["base"], row["new"]]).any() for row in classes)
        or bool(effects and (effects["n_unmatched"] or any(row["largest_change"] for row in effects["by_class"])))
        or bool(sets is not None and (sets.overlap < 1).any())
    )


def _class_metrics(both: Pair, spec: ComparisonSpec) -> dict[str, list[dict[str, Any]]]:
    images = both.base.spec["ms_ssim_samples"]
    base, new = (
        table.assign(ms_ssim_images=table.n_fake.clip(upper=images)) for table in _tables(both, "class_metrics")
    )
    classes, totals = metric_changes(base, new, *_tables(both, "class_metric_floor"), spec)
    return {"classes": records(classes), "totals": records(totals)}


def _tables(both: Pair, name: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    return both.base.manifest.table(name), both.new.manifest.table(name)


def _provenance(audit: Audit) -> dict[str, Any]:
    return {
        "folder": audit.url,
        "audit": audit.hash,
        "tables": audit.manifest.digest(),
        "generator": audit.spec["generator"],
        "generator_digest": audit.record.identity.digests["generator"],
        "seed": audit.spec["seed"],
    }
