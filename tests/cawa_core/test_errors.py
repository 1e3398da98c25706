"""Messages stay short, whatever they list."""

import pytest

from cawa_core.errors import LONGEST_MESSAGE, LONGEST_VALUE, bounded, listed, shortened


def test_a_list_names_the_first_values_and_counts_the_rest():
    assert listed([]) == ""
    assert listed(range(5)) == "0, 1, 2, 3, 4"
    assert listed(range(6)) == "0, 1, 2, 3, 4 and 1 more"
    assert listed(("a", "b", "c"), 2, "; ") == "a; b and 1 more"
    assert listed(range(2000)).endswith(" and 1,995 more")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (3, "3"),
        ("text", "'text'"),
        ([1, "two"], "[1, 'two']"),
        (["a"] * 999, "['a', 'a', 'a', 'a', 'a' and 994 more]"),
        ("x" * 1000, "'" + "x" * (LONGEST_VALUE - 2) + "…"),
        ({"key": "x" * 1000}, ("{'key': '" + "x" * 1000)[: LONGEST_VALUE - 1] + "…"),
        (["x" * 1000] * 10, ("['" + "x" * 1000)[: LONGEST_VALUE - 1] + "…"),
    ],
)
def test_values_are_bounded(value, shown):
    assert bounded(value) == shown
    assert len(shown) <= LONGEST_VALUE


def test_a_long_message_keeps_what_came_and_what_to_do():
    assert shortened("one\n line") == "one line"
    message = f"classes must exist; got {'bag ' * 5000}: choose others"
    assert len(shortened(message)) <= LONGEST_MESSAGE + 3
    assert shortened(message).startswith("classes must exist; got bag")
    assert shortened(message).endswith("bag : choose others")
