"""Derived tables, computed from the stages' tables one site at a time, so that memory holds two sites at most."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain
from typing import Any, TypeVar

import numpy as np

from cawa_core.table_schema import TABLES
from cawa_core.tables import Manifest, PublishedFile, Receipt, Rows, publish, publish_groups
from workflows.aggregate.class_overlap import ENCODING, class_overlap_groups
from workflows.aggregate.masking_correlation import masking_correlation_columns
from workflows.aggregate.metric_correlation import metric_correlation_rows
from workflows.aggregate.rankings import EverySite, Ranking, site_rankings
from workflows.aggregate.shared_channels import popularity_rows, shared_channel_rows
from workflows.aggregate.site_values import (
    SiteAwareness,
    SiteMasking,
    every_row_sampled,
    site_awareness,
    site_masking,
)
from workflows.spec import AuditSpec

DERIVED = "aggregate"
"""Stage name of the derived tables in the manifest."""

Item = TypeVar("Item")


def publish_derived_tables(manifest: Manifest, spec: AuditSpec, audit: str) -> None:
    """Write and record every derived table that the recorded stages allow.

    Args:
        audit: hash of the audit that the tables belong to.
    """
    start = time.perf_counter()
    files = [*_channel_tables(manifest, spec, audit), *_metric_table(manifest, spec, audit)]
    manifest.add(Receipt(DERIVED, DERIVED, (), (), tuple(files), round(time.perf_counter() - start, 3), "driver"))


def _metric_table(manifest: Manifest, spec: AuditSpec, audit: str) -> tuple[PublishedFile, ...]:
    metrics = manifest.table("class_metrics")
    rows = _columns(metric_correlation_rows(metrics, spec)) if len(metrics) > 2 else {}
    return publish(manifest.storage, "all", {"metric_correlation": rows}, audit) if rows else ()


def _channel_tables(manifest: Manifest, spec: AuditSpec, audit: str) -> list[PublishedFile]:
    """Write the tables about channels; reading the next site and writing the last overlap with computing one."""
    largest = max((*spec.overlap_k, *spec.shared_k))
    everywhere = EverySite(largest)
    correlations = []
    by_site = []
    with ThreadPoolExecutor(1) as writer:

        def overlaps(part: str, rankings: list[Ranking]) -> Future[list[PublishedFile]]:
            groups = class_overlap_groups(rankings, spec.overlap_k)
            return writer.submit(_publish_overlaps, manifest, part, groups, audit)

        pending: list[Future[list[PublishedFile]]] = []
        for site, awareness, masking in _read_ahead(_sites(manifest)):
            rankings = list(site_rankings(site, awareness, masking, largest))
            everywhere.add(rankings, awareness.known.shape[1])
            by_site += rankings
            pending.append(overlaps(f"s{site:02d}", rankings))
            if masking is not None:
                correlations.append(masking_correlation_columns(awareness.class_ids, site, masking, spec))
        if by_site:
            pending.append(overlaps("all", everywhere.rankings()))
        tables = {
            "masking_correlation": _concatenated(correlations),
            "shared_channels": _columns(shared_channel_rows(by_site, spec.shared_k)),
            "top_channel_popularity": _columns(popularity_rows(by_site)),
        }
        tables = {name: rows for name, rows in tables.items() if rows}
        files = [file for future in pending for file in future.result()]
        return files + list(publish(manifest.storage, "all", tables, audit))


def _publish_overlaps(manifest: Manifest, part: str, groups: Iterator[Rows], audit: str) -> list[PublishedFile]:
    """Write one file with the overlaps of a site; no file if there are no pairs."""
    first = next(groups, None)
    if first is None:
        return []
    return [publish_groups(manifest.storage, part, "class_overlap", chain([first], groups), audit, **ENCODING)]


def _sites(manifest: Manifest) -> Iterator[tuple[int, SiteAwareness, SiteMasking | None]]:
    sites = manifest.sites("awareness")
    masked = manifest.sites("masking")
    all_sampled = every_row_sampled(manifest, sites)
    for site in sites:
        awareness = site_awareness(manifest, site, all_sampled)
        yield site, awareness, site_masking(manifest, site, awareness) if site in masked else None


def _read_ahead(items: Iterator[Item]) -> Iterator[Item]:
    """Yield the same items; a thread makes the next one while the caller works on the current one."""
    with ThreadPoolExecutor(1) as reader:
        pending = reader.submit(next, items, None)
        while (item := pending.result()) is not None:
            pending = reader.submit(next, items, None)
            yield item


def _concatenated(parts: Sequence[Rows]) -> Rows:
    filled = [part for part in parts if len(part["class_id"])]
    names = TABLES["masking_correlation"].columns
    return {name: np.concatenate([part[name] for part in filled]) for name in names} if filled else {}


def _columns(rows: Iterable[dict[str, Any]]) -> Rows:
    records = list(rows)
    return {name: [row[name] for row in records] for name in records[0]} if records else {}
