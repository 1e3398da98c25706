"""The interface of an analysis: what it declares, and the classes that its parts are written as."""

from workflows.interface.comparison import Comparison
from workflows.interface.declaration import Analysis, NoOptions, imported
from workflows.interface.derivation import Derivation
from workflows.interface.results import Content, Findings, Results
from workflows.interface.work import WHOLE_CLASS, Cost, Output, Pace, Stopwatch, Unit, Work

__all__ = [
    "WHOLE_CLASS",
    "Analysis",
    "Comparison",
    "Content",
    "Cost",
    "Derivation",
    "Findings",
    "NoOptions",
    "Output",
    "Pace",
    "Results",
    "Stopwatch",
    "Unit",
    "Work",
    "imported",
]
