"""Options of commands from the fields of dataclasses: name, type, help and default are written once."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from functools import cache
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer

from workflows.analyses import ANALYSES
from workflows.commands.words import words_of
from workflows.options.audit import COVERAGE, AuditSpec, audit_spec_type
from workflows.options.lab import ROLES, SUBJECT
from workflows.options.run import RunOptions

AUDIT_HEADING = "What to audit (defaults suit fashion-biggan; for others see docs/imagenet.md)"
MODEL_HEADING = "Generator and arithmetic"
"""The same options in commands that audit nothing."""
DERIVED_HEADING = "Derived tables and report"


@cache
def spec_panels() -> dict[str, str]:
    """Return the heading under which help shows each option of an audit, in the order of the panels.

    An option of several analyses is shown with the first of them.
    """
    headings = dict.fromkeys((*COVERAGE, *SUBJECT), AUDIT_HEADING) | dict.fromkeys(ROLES, "Networks and real images")
    for name, owner in ANALYSES.option_names(derived=False).items():
        headings.setdefault(name, ANALYSES[owner].title)
    rest = [field.name for field in dataclasses.fields(audit_spec_type()) if field.name not in headings]
    return headings | dict.fromkeys(rest, DERIVED_HEADING)


def with_options_of(*kinds: type, only: tuple[str, ...] = ()) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command one option for each field of some dataclasses, passed on as ``flags``; None means not given.

    Args:
        kinds: the dataclasses.
        only: the fields of AuditSpec and RunOptions to use; by default all.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        hints = get_type_hints(command, include_extras=True)
        del hints["flags"]
        parameters = inspect.signature(command).parameters
        declared = [parameters[name].replace(annotation=hint) for name, hint in hints.items() if name != "return"]
        added = [
            _parameter(kind, field, is_audit=not only)
            for kind in kinds
            for field in _fields(kind)
            if not only or field.name in only or kind not in (AuditSpec, RunOptions)
        ]

        @functools.wraps(command)
        def wrapper(**values: Any) -> None:  # noqa: ANN401
            flags = {option.name: _from_texts(option, values.pop(option.name)) for option in added}
            command(**values, flags=flags)

        wrapper.__signature__ = inspect.Signature([*declared, *added])  # type: ignore[attr-defined]
        wrapper.__annotations__ = hints | {option.name: option.annotation for option in added}
        return wrapper

    return decorate


def _fields(kind: type) -> list[dataclasses.Field[Any]]:
    """Return the fields of a dataclass; of AuditSpec, those of every analysis, in the order of the panels."""
    if kind is not AuditSpec:
        return list(dataclasses.fields(kind))
    fields = {field.name: field for field in dataclasses.fields(audit_spec_type())}
    return [fields[name] for name in spec_panels()]


def _panel(kind: type, name: str, is_audit: bool) -> str:
    """Return the heading under which help shows an option."""
    if kind is not AuditSpec:
        return str(kind.HEADING)  # type: ignore[attr-defined]
    heading = spec_panels()[name]
    return heading if is_audit or heading != AUDIT_HEADING else MODEL_HEADING


@cache
def _type_hints(kind: type) -> dict[str, Any]:
    return get_type_hints(audit_spec_type() if kind is AuditSpec else kind)


def _parameter(kind: type, field: dataclasses.Field[Any], is_audit: bool) -> inspect.Parameter:
    """Make a field an optional keyword: lists as texts with commas, numbers as numbers."""
    hint = _type_hints(kind)[field.name]
    taken: Any = list[str] if get_origin(hint) is tuple else hint if hint in (int, float, bool) else str
    default = ",".join(map(str, field.default)) if isinstance(field.default, tuple) else str(field.default)
    text = field.metadata["help"] + (f" [dim]\\[default: {default}][/dim]" if default else "")
    name = field.name.replace("_", "-")
    option = typer.Option(
        f"--{name}/--no-{name}" if hint is bool else f"--{name}",
        help=text,
        rich_help_panel=_panel(kind, field.name, is_audit),
        show_default=False,
        metavar="LIST" if get_origin(hint) is tuple else None,
    )
    annotation: Any = Annotated[taken | None, option, hint]  # the hint rides along for the conversion below
    return inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _from_texts(option: inspect.Parameter, value: Any) -> Any:  # noqa: ANN401
    """Join the texts of a list option into one list: of numbers if the field holds numbers, and empty for no text."""
    hint = option.annotation.__metadata__[1]
    if get_origin(hint) is not tuple:
        return value
    if not value:
        return None
    words = words_of(f"--{option.name.replace('_', '-')}", value)
    if str in _members(hint):
        return words
    return [_number(word) for word in words] if words != [""] else []


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
