"""Options of commands from the fields of dataclasses: name, type, help and default are written once."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer
from cawa_core.specs import OPTIONS, REPORT

from workflows.applications.options import EditSpec, HybridSpec, MaskSpec, SegmentSpec
from workflows.compare.options import ComparisonSpec
from workflows.config import RunOptions
from workflows.lab.spec import ROLES, SUBJECT
from workflows.spec import COVERAGE, AuditSpec

PANELS = {
    RunOptions: "How to run it",
    ComparisonSpec: "What counts as worse",
    EditSpec: "What to change",
    MaskSpec: "What to mask",
    HybridSpec: "What to mix",
    SegmentSpec: "What to cluster",
}
SPEC_PANELS = {
    "What to audit (defaults suit fashion-biggan; for others see docs/imagenet.md)": (*COVERAGE, *SUBJECT),
    "Networks and real images": ROLES,
    **{stage.replace("_", " ").capitalize(): names for stage, names in OPTIONS.items()},
    "Derived tables and report": REPORT,
}
"""Heading => fields of AuditSpec, those of one analysis together."""


def with_options_of(*kinds: type, only: tuple[str, ...] = ()) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command one option for each field of some dataclasses, passed on as ``flags``; None means not given.

    Args:
        kinds: the dataclasses.
        only: of AuditSpec and RunOptions, these fields alone.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        hints = get_type_hints(command, include_extras=True)
        del hints["flags"]
        parameters = inspect.signature(command).parameters
        declared = [parameters[name].replace(annotation=hint) for name, hint in hints.items() if name != "return"]
        added = [
            _parameter(kind, field)
            for kind in kinds
            for field in _fields(kind)
            if not only or field.name in only or kind not in (AuditSpec, RunOptions)
        ]

        @functools.wraps(command)
        def wrapper(**values: Any) -> None:  # noqa: ANN401
            flags = {option.name: _from_text(option.annotation, values.pop(option.name)) for option in added}
            command(**values, flags=flags)

        wrapper.__signature__ = inspect.Signature([*declared, *added])  # type: ignore[attr-defined]
        wrapper.__annotations__ = hints | {option.name: option.annotation for option in added}
        return wrapper

    return decorate


def _fields(kind: type) -> list[dataclasses.Field[Any]]:
    """Return the fields of a dataclass; of AuditSpec, in the order of the panels."""
    fields = {field.name: field for field in dataclasses.fields(kind)}
    if kind is not AuditSpec:
        return list(fields.values())
    names = dict.fromkeys(name for panel in SPEC_PANELS.values() for name in panel)
    return [fields[name] for name in names]


def _panel(kind: type, name: str) -> str:
    """Heading under which help shows an option: an option of several analyses stands with the first."""
    if kind is not AuditSpec:
        return PANELS[kind]
    return next(panel for panel, names in SPEC_PANELS.items() if name in names)


def _parameter(kind: type, field: dataclasses.Field[Any]) -> inspect.Parameter:
    """One field as an optional keyword: lists as text with commas, numbers as numbers."""
    hint = get_type_hints(kind)[field.name]
    taken = hint if hint in (int, float, bool) else str
    default = ",".join(map(str, field.default)) if isinstance(field.default, tuple) else str(field.default)
    text = field.metadata["help"] + (f" [dim]\\[default: {default}][/dim]" if default else "")
    name = field.name.replace("_", "-")
    option = typer.Option(
        f"--{name}/--no-{name}" if hint is bool else f"--{name}",
        help=text,
        rich_help_panel=_panel(kind, field.name),
        show_default=False,
        metavar="LIST" if get_origin(hint) is tuple else None,
    )
    annotation: Any = Annotated[taken | None, option, hint]  # the hint rides along for the conversion below
    return inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _from_text(annotation: Any, value: Any) -> Any:  # noqa: ANN401
    """Text with commas as a list; of numbers where the field holds numbers, and then none of them for no text."""
    hint = annotation.__metadata__[1]
    if value is None or get_origin(hint) is not tuple:
        return value
    words = [word.strip() for word in value.split(",")]
    if str in _members(hint):
        return words
    return [_number(word) for word in words] if value.strip() else []


def _number(word: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            continue
    return word


def _members(hint: Any) -> tuple[Any, ...]:  # noqa: ANN401
    inner = get_args(hint)[0]
    return get_args(inner) or (inner,)
