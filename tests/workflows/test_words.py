"""Lists on the command line: commas, quotes and repeated options."""

import pytest

from cawa_core.errors import InputError
from tests.workflows.test_cli import run
from workflows import cli
from workflows.commands.words import words_of
from workflows.options.run import RunOptions


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["a,b"], ["a", "b"]),
        (["a", "b, c"], ["a", "b", "c"]),
        (['"crane, bird", bag'], ["crane, bird", "bag"]),
        (['"vgg16=/x/a,b.pth"', "deep"], ["vgg16=/x/a,b.pth", "deep"]),
        (['"say ""hi"", you"'], ['say "hi", you']),
        (['5" disk'], ['5" disk']),
        (["a,b\r\n"], ["a", "b"]),
        ([""], [""]),
        (["a,,b"], ["a", "", "b"]),
    ],
)
def test_words(texts, words):
    assert words_of("--classes", texts) == words


@pytest.mark.parametrize("text", ['"a', '"a"b', "a\nb"])
def test_quotes_that_do_not_match(text):
    with pytest.raises(InputError, match="--classes must be words separated by commas, with double quotes"):
        words_of("--classes", [text])


@pytest.fixture
def seen(monkeypatch):
    """Flags that the command ``plan`` passed on."""
    flags = {}

    def merged(spec, given):
        flags.update({name: value for name, value in given.items() if value is not None})
        raise InputError("seen")

    monkeypatch.setattr(cli, "merged_options", merged)
    return flags


def test_repeated_lists_are_joined_in_order(monkeypatch, capsys, seen):
    arguments = ("--classes", "bag", "--classes", "dress,1", "--stages", "masking", "--stages", "gallery")
    arguments += ("--overlap-k", "5", "--overlap-k", "10,20", "--weights", '"a,b.pth"', "--weights", "vgg16=c")
    run(monkeypatch, capsys, "plan", *arguments)
    assert seen == {
        "classes": ["bag", "dress", "1"],
        "stages": ["masking", "gallery"],
        "overlap_k": [5, 10, 20],
        "weights": ["a,b.pth", "vgg16=c"],
    }
    store = RunOptions(weights=tuple(seen["weights"])).weight_store("biggan")
    assert store.given == {"biggan": "a,b.pth", "vgg16": "c"}


def test_lists_that_are_not_given_or_empty(monkeypatch, capsys, seen):
    run(monkeypatch, capsys, "plan", "--overlap-k", "", "--seed", "3")
    assert seen == {"overlap_k": [], "seed": 3}


@pytest.mark.parametrize(
    "arguments",
    [
        ("plan", "--seed", "1", "--seed", "2"),
        ("audit", "--output", "a", "--seed", "1", "--output=b"),
        ("audit", "--compile", "--no-compile"),
        ("compare", "a", "b", "--output", "c", "--output", "c"),
        ("sites", "--cache", "a", "--cache", "b"),
        ("mask", "--site", "1", "--site", "2"),
    ],
)
def test_other_options_are_given_once(monkeypatch, capsys, tmp_path, arguments):
    monkeypatch.chdir(tmp_path)
    code, printed = run(monkeypatch, capsys, *arguments)
    assert code == 2
    assert "must be given once; it is given 2 times" in printed.err
    assert printed.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
