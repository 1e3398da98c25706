"""Derivation of tables from those of other analyses."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from cawa_core.tables import Manifest, PublishedFile
    from workflows.options.audit import AuditSpec
    from workflows.results.sites import SiteResults

Options = TypeVar("Options")


class Derivation(ABC, Generic[Options]):
    """Tables of an analysis that are derived from those of others, whenever these change.

    Aggregation reads each site once and gives it to all derivations, in the order of the analyses.

    Args:
        manifest: results of the folder.
        spec: options of the audit.
        audit: hash that the files carry.
        writer: a thread in which :meth:`add_site` may write while the next site is read; :meth:`files` must wait for
            the results of what was submitted.
    """

    TOP_SETS: ClassVar[str] = ""
    """Option with the sizes of the top sets that are needed of the rankings of a site; empty if none are."""

    def __init__(self, manifest: Manifest, spec: AuditSpec, audit: str, writer: Executor) -> None:
        self.manifest = manifest
        self.spec = spec
        self.audit = audit
        self.writer = writer
        self.begin()

    @property
    def options(self) -> Options:
        """Options of the audit."""
        return self.spec  # type: ignore[return-value]  # a spec has the options of every analysis

    def begin(self) -> None:
        """Prepare whatever the sites are added to."""

    def add_site(self, site: SiteResults) -> None:
        """Take in the awareness and masking of the next site, in ascending order; keep only what is derived."""

    @abstractmethod
    def files(self) -> list[PublishedFile]:
        """Write the tables, after all sites, and return all files; none if there is nothing to derive."""
