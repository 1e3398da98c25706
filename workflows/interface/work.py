"""Computation of the units of an analysis, and what it costs."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from cawa_core.tables import Manifest, Rows
    from workflows.lab import Lab
    from workflows.planning.shards import Shard

Options = TypeVar("Options")

Unit = tuple[int | str, ...]
"""One unit of work of a class: its place on the axes of the analysis after the class."""
WHOLE_CLASS: Unit = ()
"""The only unit of a class, if an analysis has no other axis."""


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


class Work(ABC, Generic[Options]):
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

    @abstractmethod
    def run(self, lab: Lab, options: Options, shard: Shard, earlier: Manifest | None) -> Output:
        """Compute a shard: a pure function of its arguments.

        Args:
            lab: models and real images.
            options: options of the audit.
            shard: classes and units to compute.
            earlier: results of the analyses in ``after``; None if there are none.
        """

    @abstractmethod
    def cost(self, lab: Lab, options: Options, class_id: int, unit: Unit) -> Cost:
        """Estimate what a unit costs."""

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
