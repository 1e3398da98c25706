"""Comparison of values that each class has, without standard errors, so that changes are tested over classes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import ClassVar

import pandas as pd

from cawa_core.rendering.sections import Section
from cawa_core.tables import Manifest
from workflows.compare.class_values import (
    NO_LABELS,
    ClassValues,
    has_moved,
    value_changes,
    value_markdown,
    value_tables,
)
from workflows.compare.pairing import Pair
from workflows.interface import Analysis, Comparison, Content, NoOptions


class ClassComparison(Comparison[NoOptions]):
    """Comparison whose only entry is named after its analysis, and holds changes of values of classes."""

    ANALYSIS: ClassVar[Analysis]
    """The analysis."""
    LABELS: ClassVar[Mapping[str, str]] = NO_LABELS
    """Columns that tell the values of a class apart, and their headings."""

    @abstractmethod
    def values(self, manifest: Manifest) -> pd.DataFrame:
        """Return the values of an audit in the form of :class:`~workflows.compare.class_values.ClassValues`."""

    @abstractmethod
    def lead(self, changes: Content) -> str:
        """Say above the tables what the values are."""

    def contrast(self, pair: Pair, thresholds: NoOptions, level: float) -> Content:  # noqa: ARG002
        """Compare the values (:func:`~workflows.compare.class_values.value_changes`)."""
        values = ClassValues(self.values(pair.base.manifest), self.values(pair.new.manifest), tuple(self.LABELS))
        return {self.ANALYSIS.name: value_changes(values, pair.class_names, level)}

    def has_moved(self, content: Content) -> bool:
        """Return whether any value differs."""
        return has_moved(content[self.ANALYSIS.name])

    def sections(self, content: Content) -> list[Section]:
        """Show the values over classes and of each class."""
        name, changes = self.ANALYSIS.name, content[self.ANALYSIS.name]
        return [Section(name, self.ANALYSIS.title, self.lead(changes), tables=value_tables(changes, self.LABELS))]

    def markdown(self, content: Content) -> Iterator[tuple[str, str]]:
        """List the values over classes."""
        for text in value_markdown(content[self.ANALYSIS.name], self.LABELS):
            yield self.ANALYSIS.title, text
