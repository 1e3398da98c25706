"""Comparison of an analysis between two audits."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

if TYPE_CHECKING:
    from cawa_core.rendering.sections import Section
    from workflows.compare.pairing import Pair

Options = TypeVar("Options")
Content = Mapping[str, Any]


class Comparison(ABC, Generic[Options]):
    """Comparison of an analysis between two audits that both have it.

    Where a method takes ``content``, it is the whole content of ``compare.json``, in which the entries of this analysis
    are filled.
    """

    ENTRIES: ClassVar[tuple[str, ...]] = ()
    """Its entries of ``compare.json``; they are null if it is not in both audits. A dot leads into a nested entry."""

    def check(self, pair: Pair) -> None:
        """Check what the options alone cannot say, before anything is compared.

        Raises:
            InputError: the audits cannot be compared.
        """

    @abstractmethod
    def contrast(self, pair: Pair, thresholds: Options, level: float) -> Content:
        """Compare the two audits.

        Args:
            pair: the audits; new is compared with base.
            thresholds: options of this comparison.
            level: false discovery rate of the changes that are called significant.

        Returns:
            The value of each of :attr:`ENTRIES`.
        """

    def judged(self, content: Content) -> Sequence[Content]:  # noqa: ARG002
        """Return the rows that decide whether new is worse; none if no direction of a change is worse.

        Each has ``metric``, ``base``, ``new``, ``q_value`` and ``verdict``, which is ``worse``, ``better``, ``same``,
        ``unknown``, or the reason why a change does not count. A row about one class has its ``class_id`` and
        ``class_name`` besides. An analysis with such rows has thresholds.
        """
        return ()

    @abstractmethod
    def has_moved(self, content: Content) -> bool:
        """Return whether any compared number differs between the audits."""

    def sections(self, content: Content) -> Sequence[Section]:  # noqa: ARG002
        """Build its sections of ``compare.html``; sections of several analyses with one anchor are joined."""
        return ()

    def markdown(self, content: Content) -> Iterator[tuple[str, str]]:  # noqa: ARG002
        """Yield its parts of ``compare.md``, each with its heading; parts under one heading are joined."""
        return iter(())
