"""The declaration of an analysis, and the classes that its parts are written as.

An analysis is one folder. Its declaration is light, because every command imports it: the parts that compute are named
by ``package.module:attribute`` and imported when they are needed.
"""

from __future__ import annotations

import dataclasses
import importlib
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from cawa_core.tables.schema import Table

if TYPE_CHECKING:
    from concurrent.futures import Executor

    import pandas as pd

    from cawa_core.rendering.claims import Claim
    from cawa_core.rendering.sections import Section
    from cawa_core.tables import Manifest, PublishedFile, Rows
    from workflows.compare.pairing import Pair
    from workflows.lab import Lab
    from workflows.options.audit import AuditSpec
    from workflows.planning.shards import Shard
    from workflows.results.class_resamples import ClassResamples
    from workflows.results.sites import SiteResults

Options = TypeVar("Options")
Content = Mapping[str, Any]

Unit = tuple[int | str, ...]
"""One unit of work of a class: its place on the axes of the analysis after the class."""
WHOLE_CLASS: Unit = ()
"""The only unit of a class, if an analysis has no other axis."""


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
        needs: roles that must be filled, besides the generator: ``evaluator``, ``real_images``.
        uses: roles that it uses if they are filled, and can do without.
        shows: networks besides the evaluator that it shows real images to, if there are any.
        axes: columns that tell units apart; the first is ``class_id``.
        unit: what units are called, in the plural.
        after: analyses whose results it reads.
        classes_per_shard: default number of classes per shard.
        work: a :class:`Work`, if it computes units.
        derivation: a :class:`Derivation`, if its tables are derived from those of others whenever these change.
        results: a :class:`Results`: what it says in the summary and the report.
        comparison: a :class:`Comparison` of two audits.
        thresholds: frozen dataclass with the options of that comparison.
        may_differ: options that may differ between audits that are compared.
        not_compared: why there is no comparison, if there is none.
        command: function of its own command on the command line, if there is one.
    """

    name: str
    title: str
    options: type = NoOptions
    tables: tuple[Table, ...] = ()
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


@dataclasses.dataclass(frozen=True)
class Output:
    """The results of a shard.

    Attributes:
        tables: rows by the name of the table.
        files: contents by file name, such as trained maps; see :meth:`cawa_core.tables.Manifest.file`.
    """

    tables: Mapping[str, Rows]
    files: Mapping[str, bytes] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Cost:
    """Cost of units of work.

    Attributes:
        passes: generator passes, or work that takes as long.
        rows: rows in the main table.
        pictures: PNG pictures in the tables.
    """

    passes: float = 0.0
    rows: int = 0
    pictures: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.passes + other.passes, self.rows + other.rows, self.pictures + other.pictures)


Pace = Mapping[str, float]
"""Measured seconds by the name of a kind of work; ``image`` (generate one image and evaluate it) is always there."""
Stopwatch = Callable[[Callable[[], object], bool], float]
"""Seconds of a call on the device of the lab; whether it is warmed up first."""


class Work(Generic[Options]):
    """Computation of the units of an analysis; stateless, so that every process can make its own."""

    def check_options(self, options: Options) -> None:
        """Check what no single option can say, before anything is loaded.

        Raises:
            InputError: the options do not go together.
        """

    def check(self, lab: Lab, options: Options) -> None:
        """Check the options against the models, before anything is computed.

        Raises:
            InputError: the models cannot do what is asked.
        """

    def units(self, lab: Lab, options: Options, class_id: int) -> Sequence[Unit]:  # noqa: ARG002
        """Return the units of a class: values on the axes after the class."""
        return [WHOLE_CLASS]

    def blocks(self, lab: Lab, options: Options, units: Sequence[Unit]) -> list[tuple[Unit, ...]]:  # noqa: ARG002
        """Divide units of a class into groups that one shard computes; by default one group each."""
        return [(unit,) for unit in units]

    def classes_read(self, lab: Lab, options: Options, class_id: int) -> Sequence[int]:  # noqa: ARG002
        """Return other classes whose real images are read for a class."""
        return ()

    def run(self, lab: Lab, options: Options, shard: Shard, earlier: Manifest | None) -> Output:
        """Compute a shard: a pure function of its arguments.

        Args:
            lab: models and real images.
            options: options of the audit.
            shard: classes and units to compute.
            earlier: results of the analyses in ``after``; None if there are none.
        """
        raise NotImplementedError

    def cost(self, lab: Lab, options: Options, class_id: int, unit: Unit) -> Cost:
        """Estimate what a unit costs."""
        raise NotImplementedError

    def pace(self, lab: Lab, options: Options, image: float, seconds: Stopwatch) -> Pace | None:  # noqa: ARG002
        """Measure what is needed to predict seconds, from a few passes.

        Args:
            lab: models and real images, with an evaluator.
            options: options of the audit.
            image: seconds to generate an image and evaluate it.
            seconds: stopwatch.

        Returns:
            Seconds by kind of work. None: it would take too long; passes are counted.
        """
        return {}

    def seconds(self, lab: Lab, options: Options, shard: Shard, pace: Pace) -> float:
        """Predict the seconds of a shard from what :meth:`pace` measured; by default from its passes."""
        passes = (
            self.cost(lab, options, class_id, unit).passes for class_id in shard.class_ids for unit in shard.units
        )
        return sum(passes) * pace["image"]

    def label(self, options: Options) -> str:  # noqa: ARG002
        """Say in a word which variant of the analysis the options choose; empty if there is only one."""
        return ""

    def alternatives(self, options: Options) -> Mapping[str, Mapping[str, Any]]:  # noqa: ARG002
        """Return changes of options that a plan shows for comparison, by label."""
        return {}

    def speeds(self, pace: Pace) -> Sequence[str]:  # noqa: ARG002
        """Put measured seconds into words, as a plan shows them."""
        return ()

    def remarks(self, options: Options) -> Sequence[str]:  # noqa: ARG002
        """Return notes for a plan on what its estimate leaves out."""
        return ()


class Derivation(Generic[Options]):
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

    def files(self) -> list[PublishedFile]:
        """Write the tables, after all sites, and return all files; none if there is nothing to derive."""
        raise NotImplementedError


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

    def sections(self, tables: Mapping[str, pd.DataFrame], summary: Content) -> Sequence[Section]:  # noqa: ARG002
        """Build its sections of the report.

        Args:
            tables: what :meth:`shown` of every analysis read.
            summary: content of ``summary.json``.
        """
        return ()


class Comparison(Generic[Options]):
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

    def contrast(self, pair: Pair, thresholds: Options, level: float) -> Content:
        """Compare the two audits.

        Args:
            pair: the audits; new is compared with base.
            thresholds: options of this comparison.
            level: false discovery rate of the changes that are called significant.

        Returns:
            The value of each of :attr:`ENTRIES`.
        """
        raise NotImplementedError

    def judged(self, content: Content) -> Sequence[Content]:  # noqa: ARG002
        """Return the rows that decide whether new is worse; none if no direction of a change is worse.

        Each has ``metric``, ``base``, ``new``, ``q_value`` and ``verdict``, which is ``worse``, ``better``, ``same``,
        ``unknown``, or the reason why a change does not count. A row about one class has its ``class_id`` and
        ``class_name`` besides. An analysis with such rows has thresholds.
        """
        return ()

    def has_moved(self, content: Content) -> bool:
        """Return whether any compared number differs between the audits."""
        raise NotImplementedError

    def sections(self, content: Content) -> Sequence[Section]:  # noqa: ARG002
        """Build its sections of ``compare.html``; sections of several analyses with one anchor are joined."""
        return ()

    def markdown(self, content: Content) -> Iterator[tuple[str, str]]:  # noqa: ARG002
        """Yield its parts of ``compare.md``, each with its heading; parts under one heading are joined."""
        return iter(())
