"""Options as fields of dataclasses: checked when they come from people, with one line for the first fault."""

import dataclasses
from typing import ClassVar

import pytest
from pydantic import ConfigDict

from cawa_core.errors import InputError
from cawa_core.options import Count, Fraction, option, require_distinct, require_members, validated


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Options of a test."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    eggs: Count = option(2, "Number of eggs.")
    sugar: Fraction = option(0.5, "Share of sugar.")
    steps: tuple[str, ...] = option(("mix", "bake"), "Steps in order.")


def test_options_have_defaults_help_and_types():
    assert validated(Recipe, {}) == Recipe()
    assert validated(Recipe, {"eggs": 3, "steps": ["bake"]}) == Recipe(eggs=3, steps=("bake",))
    helps = [field.metadata["help"] for field in dataclasses.fields(Recipe)]
    assert helps == ["Number of eggs.", "Share of sugar.", "Steps in order."]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"egs": 1}, r"unknown option 'egs'; did you mean 'eggs'\?; allowed: eggs, sugar, steps"),
        ({"eggs": "two"}, "eggs: .*integer.*; got 'two'"),
        ({"eggs": True}, "eggs: .*integer"),
        ({"eggs": 0}, "eggs: .*greater than or equal to 1; got 0"),
        ({"sugar": 0}, "sugar: .*greater than 0; got 0"),
        ({"sugar": 1.5}, "sugar: .*less than or equal to 1; got 1.5"),
        ({"sugar": float("nan")}, "sugar must be finite; got nan"),
        ({"steps": [1.0, float("-inf")]}, "steps must be finite; got -inf"),
        ({"steps": "mix"}, "steps: .*array"),
        ({"steps": [object()]}, "no number, text or list"),
    ],
)
def test_bad_values_give_one_clear_line(values, message):
    with pytest.raises(InputError, match=message) as caught:
        validated(Recipe, values)
    assert "\n" not in str(caught.value)


def test_members_are_allowed_words_at_most_once_and_at_least_one():
    require_members("stages", ("a",), ("a", "b"))
    for wrong in ((), ("a", "a"), ("c",)):
        with pytest.raises(InputError, match="stages must"):
            require_members("stages", wrong, ("a", "b"))
    with pytest.raises(InputError, match="got 'mixx'; did you mean 'mix'"):
        require_members("steps", ("mixx",), ("mix", "bake"))


@pytest.mark.parametrize("sizes", [(), (5, 5), (1, 2, 1)])
def test_numbers_that_must_be_distinct_are_so(sizes):
    @dataclasses.dataclass(frozen=True)
    class Sizes:
        sizes: tuple[int, ...] = option((1, 2), "Sizes.", is_distinct=True)
        others: tuple[int, ...] = option((3, 3), "Other sizes.")

    require_distinct(Sizes())
    with pytest.raises(InputError, match=r"^sizes must be different numbers, at least one; got "):
        require_distinct(Sizes(sizes))
