"""Tables of the derived analyses, from those of others: one pass over the sites that feeds every derivation.

The next site is read, and tables of the last one are written, while one is computed, so memory holds two sites at most.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from cawa_core.tables import Manifest, Receipt
from workflows.analyses import ANALYSES
from workflows.interface import Analysis, Derivation, imported
from workflows.options.audit import AuditSpec
from workflows.results.sites import site_results

Item = TypeVar("Item")


def derive(manifest: Manifest, spec: AuditSpec, audit: str) -> None:
    """Write and record the tables of every derived analysis that the recorded results allow, and remove all others.

    Each derived analysis has one receipt, of its name.

    Args:
        manifest: results of the folder.
        spec: options of the audit.
        audit: hash of the audit that the tables belong to.
    """
    names = [analysis.name for analysis in derivable(manifest)]
    manifest.remove(derived_stages(manifest) - set(names))
    with ThreadPoolExecutor(1) as writer:
        derivations: dict[str, Derivation[Any]] = {
            name: imported(ANALYSES[name].derivation)(manifest, spec, audit, writer) for name in names
        }
        sizes = [getattr(spec, derivation.TOP_SETS) for derivation in derivations.values() if derivation.TOP_SETS]
        seconds = dict.fromkeys(names, 0.0)
        for site in _read_ahead(site_results(manifest, max([1, *(k for ks in sizes for k in ks)]))):
            for name, derivation in derivations.items():
                start = time.perf_counter()
                derivation.add_site(site)
                seconds[name] += time.perf_counter() - start
        for name, derivation in derivations.items():
            start = time.perf_counter()
            files = tuple(derivation.files())
            seconds[name] += time.perf_counter() - start
            manifest.add(Receipt(name, name, (), (), files, round(seconds[name], 3), "driver"))


def derivable(manifest: Manifest) -> list[Analysis]:
    """Return the derived analyses whose every input has results."""
    available = {receipt.stage for receipt in manifest.receipts.values()} - derived_stages(manifest)
    analyses = []
    for analysis in ANALYSES.derived:
        if available.issuperset(analysis.after):
            analyses.append(analysis)
            available.add(analysis.name)
    return analyses


def derived_stages(manifest: Manifest) -> set[str]:
    """Return the derived analyses that the manifest records, by whatever version and packages."""
    return {shard for shard, receipt in manifest.receipts.items() if receipt.is_derived}


def _read_ahead(items: Iterator[Item]) -> Iterator[Item]:
    """Yield the same items; a thread makes the next one while the caller works on the current one."""
    with ThreadPoolExecutor(1) as reader:
        pending = reader.submit(next, items, None)
        while (item := pending.result()) is not None:
            pending = reader.submit(next, items, None)
            yield item
