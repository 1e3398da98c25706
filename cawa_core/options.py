"""Options as fields of dataclasses: written once, with their help, and checked when a user sets them."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from cawa_core.errors import InputError, bounded, listed, suggestion

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Count = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(gt=0, le=1)]
Precision = Literal["float32", "tf32", "bfloat16", "float16"]
"""Arithmetic of the networks, see :mod:`cawa_core.numerics.arithmetic`."""


def option(default: Any, description: str, *, is_distinct: bool = False) -> Any:  # noqa: ANN401
    """Make a field with the help text that the command line shows.

    Args:
        default: value if none is given.
        description: help text.
        is_distinct: whether the field holds different numbers, at least one; see :func:`require_distinct`.
    """
    return dataclasses.field(default=default, metadata={"help": description, "distinct": is_distinct})


@cache
def _adapter(kind: type) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def validated(kind: type, values: Mapping[str, Any]) -> Any:  # noqa: ANN401
    """Build a spec dataclass from plain data.

    Raises:
        InputError: an unknown key, a wrong type, a value out of range or not finite; one line for the first fault.
    """
    for name, value in values.items():
        for each in value if isinstance(value, list | tuple) else (value,):
            if isinstance(each, float) and not math.isfinite(each):
                raise InputError(f"{name} must be finite; got {each}")
    try:
        return _adapter(kind).validate_json(json.dumps(values))
    except ValidationError as error:
        raise InputError(_first_fault(kind, error)) from None
    except TypeError as error:
        raise InputError(f"spec holds a value that is no number, text or list: {error}") from None


def require_distinct(spec: DataclassInstance) -> None:
    """Check that fields that must hold different numbers, at least one, do so.

    Raises:
        InputError: one does not.
    """
    for field in dataclasses.fields(spec):
        numbers = getattr(spec, field.name)
        if field.metadata.get("distinct") and (not numbers or len(set(numbers)) < len(numbers)):
            raise InputError(f"{field.name} must be different numbers, at least one; got {bounded(list(numbers))}")


def _first_fault(kind: type, error: ValidationError) -> str:
    fault = error.errors(include_url=False)[0]
    if not fault["loc"]:  # text that is not Unicode, which JSON can spell
        return f"options must be readable; {fault['msg']}"
    key = str(fault["loc"][0])
    fields = [field.name for field in dataclasses.fields(kind)]
    if key not in fields:
        return f"unknown option {bounded(key)}{suggestion(key, fields)}; allowed: {listed(fields)}"
    return f"{key}: {fault['msg'][0].lower()}{fault['msg'][1:]}; got {bounded(fault['input'])}"


def require_members(argument: str, given: tuple[str, ...], allowed: tuple[str, ...]) -> None:
    """Check that a tuple option is not empty, and holds only allowed words, each at most once.

    Raises:
        InputError: the option is empty, or a word is not allowed or is given twice.
    """
    for word in given:
        if word not in allowed:
            raise InputError(
                f"{argument} must be among {', '.join(allowed)}; got {bounded(word)}{suggestion(word, allowed)}"
            )
    if not given or len(set(given)) < len(given):
        raise InputError(
            f"{argument} must name each of {', '.join(allowed)} at most once and at least one; got {bounded(given)}"
        )
