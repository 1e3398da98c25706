"""The declaration of an analysis.

An analysis is one folder. Its declaration is light, because every command imports it: the parts that compute are named
by ``package.module:attribute`` and imported when they are needed.
"""

from __future__ import annotations

import dataclasses
import importlib
import operator
from typing import TYPE_CHECKING, Any

from cawa_core.tables.schema import Table
from workflows.interface.results import Results

if TYPE_CHECKING:
    from workflows.interface.comparison import Comparison
    from workflows.interface.work import Work


@dataclasses.dataclass(frozen=True)
class NoOptions:
    """The options of an analysis without any."""


@dataclasses.dataclass(frozen=True)
class Analysis:
    """The declaration of an analysis.

    Attributes:
        name: name of the analysis, of its folder, of its main table and of its anchor in the report.
        title: heading of its options and name in sentences.
        options: frozen dataclass; its fields become flags, keys of ``audit.toml`` and part of the analysis's identity.
        tables: tables that it writes, the main one first.
        functions: options that may name functions of the user, whose code is then part of the analysis's identity.
        needs: roles that must be filled, besides the generator: ``evaluator``, ``real_images``.
        uses: roles that it uses if they are filled, and can do without.
        shows: networks besides the evaluator that it shows real images to, if there are any.
        axes: columns that tell units apart; the first is ``class_id``.
        unit: what units are called, in the plural.
        after: analyses whose results it reads.
        classes_per_shard: default number of classes per shard; fewer if they are expensive, one each after a failure.
        work: a :class:`Work`, if it computes units.
        derivation: a :class:`Derivation`, if its tables are derived from those of others whenever these change.
        results: a :class:`Results`: what it says in the summary and the report.
        comparison: a :class:`Comparison` of two audits.
        thresholds: frozen dataclass with the options of that comparison.
        may_differ: options, and roles in ``uses``, that may differ between audits that are compared.
        not_compared: why there is no comparison, if there is none.
        command: function of its own command on the command line, if there is one.
    """

    name: str
    title: str
    options: type = NoOptions
    tables: tuple[Table, ...] = ()
    functions: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    uses: tuple[str, ...] = ()
    shows: tuple[str, ...] = ()
    axes: tuple[str, ...] = ("class_id",)
    unit: str = "classes"
    after: tuple[str, ...] = ()
    classes_per_shard: int = 1
    work: str = ""
    derivation: str = ""
    results: str = ""
    comparison: str = ""
    thresholds: type = NoOptions
    may_differ: tuple[str, ...] = ()
    not_compared: str = ""
    command: str = ""

    def __post_init__(self) -> None:
        if bool(self.work) == bool(self.derivation):
            raise ValueError(f"analysis {self.name!r} must have either work or a derivation")
        if bool(self.comparison) == bool(self.not_compared):
            raise ValueError(f"analysis {self.name!r} must have a comparison, or say why it is not compared")
        if self.axes[:1] != ("class_id",):
            raise ValueError(f"axes of analysis {self.name!r} must begin with class_id; got {', '.join(self.axes)}")

    @property
    def is_derived(self) -> bool:
        """Whether its tables are derived from those of other analyses."""
        return bool(self.derivation)

    @property
    def by_site(self) -> bool:
        """Whether each unit belongs to a site."""
        return self.axes[1:2] == ("site",)

    @property
    def option_names(self) -> tuple[str, ...]:
        """The names of its options."""
        return tuple(field.name for field in dataclasses.fields(self.options))

    def make_work(self) -> Work[Any]:
        """Import what computes its units."""
        work: Work[Any] = imported(self.work)()
        return work

    def make_comparison(self) -> Comparison[Any]:
        """Import the comparison of two audits that both have it."""
        comparison: Comparison[Any] = imported(self.comparison)()
        return comparison

    def make_results(self) -> Results[Any]:
        """Import what it says in the summary and the report."""
        results: Results[Any] = imported(self.results)() if self.results else Results()
        return results


def imported(target: str) -> Any:  # noqa: ANN401
    """Import the attribute of a module from ``package.module:attribute``."""
    module, attribute = target.split(":", 1)
    return operator.attrgetter(attribute)(importlib.import_module(module))
