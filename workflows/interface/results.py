"""Statements of an analysis in the summary and the report."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    import pandas as pd

    from cawa_core.rendering.claims import Claim
    from cawa_core.rendering.class_facts import ClassFacts
    from cawa_core.rendering.sections import Section
    from cawa_core.tables import Manifest
    from workflows.options.audit import AuditSpec
    from workflows.results.class_resamples import ClassResamples

Options = TypeVar("Options")
Content = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Findings:
    """Inputs of a summary.

    Attributes:
        manifest: results of the folder.
        spec: options of the audit.
        resamples: bootstrap over classes, the same resamples for all quantities.
    """

    manifest: Manifest
    spec: AuditSpec
    resamples: ClassResamples


class Results(Generic[Options]):
    """Statements of an analysis about its tables, in the summary and the report; asked for even without results."""

    def summary(self, findings: Findings) -> Content:  # noqa: ARG002
        """Return its entries of ``summary.json``; the value of an entry is None if the tables do not allow it.

        Other summaries are computed at the same time, so change nothing that they share.
        """
        return {}

    def warnings(self, summary: Content) -> Sequence[str]:  # noqa: ARG002
        """Return sentences that readers of the results must know; the command prints them, the page begins with them.

        An entry of the summary may be missing or None.
        """
        return ()

    def claims(self, summary: Content) -> Sequence[Claim]:  # noqa: ARG002
        """Return the claims that a summary decides; an entry may be missing or None."""
        return ()

    def shown(self, manifest: Manifest) -> Mapping[str, pd.DataFrame]:  # noqa: ARG002
        """Read the rows that its sections show; of large tables, no others.

        Returns:
            Its own tables by name, empty if nothing wrote them, and rows that it reads of other tables, by names that
            no other analysis uses.
        """
        return {}

    def class_facts(self, tables: Mapping[str, pd.DataFrame], summary: Content) -> ClassFacts | None:  # noqa: ARG002
        """Return its facts about single classes (values, related classes, pictures); None if it has none.

        Args:
            tables: what :meth:`shown` of every analysis read.
            summary: content of ``summary.json``.
        """
        return None

    def sections(self, tables: Mapping[str, pd.DataFrame], summary: Content) -> Sequence[Section]:  # noqa: ARG002
        """Build its sections of the report.

        Args:
            tables: what :meth:`shown` of every analysis read.
            summary: content of ``summary.json``.
        """
        return ()
