"""The analyses that are known: those of this project, and those that installed packages register."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from importlib.metadata import entry_points

from cawa_core.errors import InputError, first_line, suggestion
from cawa_core.tables.schema import declare
from workflows.interface import Analysis


class Catalogue(Mapping[str, Analysis]):
    """Analyses by name, in order; those of installed packages come last.

    Args:
        included: analyses of this project.
        group: entry point group by which packages register their declarations.
    """

    def __init__(self, included: Sequence[Analysis], group: str) -> None:
        self._included = {analysis.name: analysis for analysis in included}
        self.group = group
        for analysis in included:
            declare(*analysis.tables)

    def __getitem__(self, name: str) -> Analysis:
        return self._analyses[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._analyses)

    def __len__(self) -> int:
        return len(self._analyses)

    @cached_property
    def _analyses(self) -> dict[str, Analysis]:
        return self._included | self.installed

    @cached_property
    def installed(self) -> dict[str, Analysis]:
        """Analyses of installed packages.

        Raises:
            InputError: a package cannot be imported, registers no declaration, or takes a name that is taken.
        """
        analyses: dict[str, Analysis] = {}
        for point in entry_points(group=self.group):
            package = point.dist.name if point.dist else "an installed package"
            try:
                analysis = point.load()
            except Exception as error:  # a fault of the package, of any kind
                raise InputError(
                    f"analysis {point.name!r} of {package} cannot be imported: {first_line(error)}; fix or uninstall "
                    "the package"
                ) from error
            if not isinstance(analysis, Analysis) or analysis.name != point.name:
                given = repr(getattr(analysis, "name", type(analysis).__name__))
                raise InputError(
                    f"analysis {point.name!r} of {package} must be a workflows.interface.Analysis of that name; "
                    f"{point.value} is {given}: fix or uninstall the package"
                )
            if analysis.name in self._included or analyses.get(analysis.name, analysis) is not analysis:
                raise InputError(
                    f"analysis {point.name!r} of {package} has a name that is taken; rename it there, or uninstall it"
                )
            try:
                declare(*analysis.tables)
            except ValueError as error:
                raise InputError(f"analysis {point.name!r} of {package}: {error}, or uninstall the package") from None
            analyses[analysis.name] = analysis
        return analyses

    @property
    def computed(self) -> tuple[str, ...]:
        """Analyses that compute units: those that ``--stages`` may name."""
        return tuple(name for name, analysis in self.items() if not analysis.is_derived)

    @property
    def by_default(self) -> tuple[str, ...]:
        """Analyses that an audit computes unless ``--stages`` names others: those of this project.

        Those that need a segmenter are not among them: they come with one (:meth:`of_concepts`).
        """
        of_concepts = self.of_concepts
        return tuple(name for name in self.computed if name in self._included and name not in of_concepts)

    @property
    def of_concepts(self) -> tuple[str, ...]:
        """Analyses of this project that an audit computes by default where there is a segmenter."""
        return tuple(name for name in self.computed if name in self._included and "segmenter" in self[name].needs)

    @property
    def derived(self) -> tuple[Analysis, ...]:
        """Analyses whose tables are derived from those of others."""
        return tuple(analysis for analysis in self.values() if analysis.is_derived)

    def named(self, name: str) -> Analysis:
        """Return an analysis.

        Raises:
            InputError: there is none of that name.
        """
        if name not in self:
            raise InputError(
                f"analysis must be one of {', '.join(self)}; got {name!r}{suggestion(name, self)}: install the package "
                "that has it"
            )
        return self[name]

    def option_names(self, derived: bool) -> dict[str, str]:
        """Return the options of all derived analyses, or of all others, with the first analysis that has each."""
        owners: dict[str, str] = {}
        for analysis in self.values():
            if analysis.is_derived == derived:
                for field in dataclasses.fields(analysis.options):
                    owners.setdefault(field.name, analysis.name)
        return owners
