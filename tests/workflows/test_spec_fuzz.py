"""Broken specs and flags, drawn with a fixed seed: they end in one line and exit code 2, or are a valid plan."""

import dataclasses
import json
import random
from typing import get_type_hints

import pytest

from cawa_core.errors import InputError
from cawa_core.evaluators import EVALUATORS
from cawa_core.evaluators.base import EvaluatorRequest
from cawa_core.generators import GENERATORS
from cawa_core.generators.class_tables import ClassTable
from cawa_core.generators.request import GeneratorRequest
from cawa_core.real_images import open_real_images
from cawa_core.real_images.base import RealImagesRequest
from cawa_core.weights import WeightStore
from tests.workflows.test_cli import run
from workflows.options.audit import audit_spec_type
from workflows.options.run import RunOptions

SEED, CASES = 20_261, 150
BASE = {"stages": ["awareness"], "classes": [1], "awareness_samples": 50, "permutations": 20, "bootstraps": 20}
HINTS = get_type_hints(audit_spec_type()) | get_type_hints(RunOptions)
NAMES = [field.name for kind in (audit_spec_type(), RunOptions) for field in dataclasses.fields(kind)]
NUMBERS = ("-1", "0", "1", "2", "3", "7", "1000", "0.5", "-0.0", "1e-300", "1e300", "9" * 20, "nan", "inf", "1e400")
WORDS = (
    *(
        "",
        " ",
        ",",
        ",,",
        '"',
        "a,b",
        "0x10",
        "9" * 400,
        "9" * 5000,
        "0,5",
        "true",
        "None",
        "[1]",
        "{}",
        "--",
        "-",
        "=",
    ),
    *(
        "é",
        "桃",
        "😀",
        "\udcff",
        "x" * 5000,
        "x/" * 3000,
        "a\tb",
        "a\nb",
        "\x1b[31m",
        "\u202eb",
        "~",
        "~nobody/x",
        "./~",
    ),
    *(
        "../..",
        "/",
        "/dev/null",
        "/dev/null/x",
        "audit.toml",
        "s3://",
        "s3://b",
        "S3://b/c",
        "file:///x",
        "://",
        ":",
        "::",
    ),
    *("a:", ":b", ".a:b", "a.b:c", "json:loads", "math:pi", "builtins:dict", "builtins:print", "os:getcwd", "vgg16=x"),
    *("masking", "gallery,class_metrics", "awareness,awareness", "closed_form", "monte_carlo", "all", "bag", "bag,bag"),
    *("1,01", "0,1", "2,3", "fashion-biggan", "biggan", "biggan-deep-128", "fashion-cnn", "vgg16", "float16"),
    *("tf32", "cuda", "cuda:1", "cuda:-1", "cpu:0", "meta", "mps"),
)
VALUES = (
    *(
        "1e400",
        "nan",
        "-inf",
        "true",
        '""',
        '" "',
        '"1"',
        '"é😀"',
        r'"\u0000"',
        r'"a\nb"',
        "[]",
        "[[]]",
        "[1, 'a', 2.5]",
    ),
    *("[-1]", "[1, 1]", "[0]", "[2, 3]", "{}", "{a = 1}", "1979-05-27", "07:32:00", "'~nobody/x'", r'["\u202e"]'),
    *(f'"{"x" * 3000}"', f"[{', '.join(map(str, range(3000)))}]", "''''''", "'s3://'", "'.a:b'", "'math:pi'", "[nan]"),
)
REAL_NAMES = ("fashion-biggan", "fashion-cnn")
MADE = ("os:getcwd", "builtins:print")
"""Factories that make something, which is checked where it is used."""
ENCODINGS = (*["utf-8"] * 8, "utf-8-sig", "utf-16", "latin-1")


def word_for(rng: random.Random, name: str) -> str:
    """A value for a flag, mostly of its own type, so that it gets past the parser."""
    is_number = HINTS[name] in (int, float)
    return rng.choice(NUMBERS if is_number and rng.random() < 0.9 else WORDS)


def value_for(rng: random.Random, name: str) -> str:
    """A value in TOML, mostly of the type of its key."""
    if name not in HINTS or rng.random() < 0.3:
        return rng.choice(VALUES)
    if HINTS[name] in (int, float):
        return rng.choice(NUMBERS)
    if HINTS[name] is bool:
        return rng.choice(("true", "false"))
    words = [json.dumps(rng.choice(WORDS), ensure_ascii=False) for _ in range(rng.choice((1, 1, 2)))]
    numbers = [rng.choice(NUMBERS) for _ in words]
    return rng.choice((words[0], f"[{', '.join(words)}]", f"[{', '.join(numbers)}]"))


def toml_of(rng: random.Random) -> bytes:
    """A spec file that is wrong in some way, or not."""
    names = rng.sample(NAMES, rng.choice((0, 1, 1, 2))) + rng.sample(["sed", "", "ключ", *["seed"] * 7], 1)
    lines = [f"{name} = {value_for(rng, name)}" for name in names]
    lines += rng.choice(([], [], [], [], lines[:1], ["[audit]"], ["seed = "], ["\x00"], ["# ü"], ["= 1"]))
    line_end = rng.choice(("\n", "\n", "\n", "\r\n", "\r"))
    content = line_end.join(lines).encode(rng.choice(ENCODINGS), "replace")
    if rng.random() < 0.1 and content:
        place = rng.randrange(len(content))
        content = content[:place] + bytes([rng.randrange(256)]) * rng.choice((0, 1, 5)) + content[place + 1 :]
    return content


def flags_of(rng: random.Random) -> list[str]:
    """Flags of which some are wrong; the executor is never Ray, which starts before the input is read."""
    flags = []
    for name in rng.sample(NAMES, rng.choice((0, 1, 1, 2))):
        flag = f"--{name.replace('_', '-')}"
        word = word_for(rng, name)
        flags += rng.choice((*[[f"{flag}={word}"]] * 6, [flag, word], [flag], [f"{flag}={word}", f"{flag}=1"]))
    return flags


def arguments_of(flags: list[str]) -> list[str]:
    """Flags beside those that keep a valid case small."""
    given = {flag.partition("=")[0] for flag in flags}
    base = {name: ",".join(map(str, value)) if isinstance(value, list) else value for name, value in BASE.items()}
    small = {f"--{name.replace('_', '-')}": value for name, value in {**base, "executor": "inline"}.items()}
    return [*flags, *(f"{flag}={value}" for flag, value in small.items() if flag not in given), "--offline"]


def listing(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def generator_of(word: str) -> object:
    return GENERATORS.make(word, GeneratorRequest(word, WeightStore(offline=True)))


def evaluator_of(word: str) -> object:
    return EVALUATORS.make(word, EvaluatorRequest(word, WeightStore(offline=True)))


def real_images_of(word: str) -> object:
    return open_real_images(RealImagesRequest(word, ClassTable(("cat", "dog")), 28, 1, (0, 1)))


def test_broken_specs_and_flags_end_in_one_line(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    rng = random.Random(SEED)
    codes = {"plan": [], "audit": []}
    for case in range(CASES):
        content, flags = toml_of(rng), flags_of(rng)
        (tmp_path / "audit.toml").write_bytes(content)
        before = listing(tmp_path)
        arguments = [*(("--spec", "audit.toml") if case % 2 else ()), *arguments_of(flags)]
        for command in ("plan", "audit"):
            capsys.readouterr()
            more = ("--no-calibrate",) if command == "plan" else ()
            try:
                code, printed = run(monkeypatch, capsys, command, *arguments, *more)
            except BaseException as error:
                raise AssertionError(f"case {case}: {command} {arguments} with {content!r}: {error!r}") from error
            where = f"case {case}: {command} {arguments} with {content!r}: exit code {code}, {printed.err[-2000:]}"
            assert code in (0, 2), where
            assert listing(tmp_path) == before, where
            codes[command].append(code)
            if code == 0:
                break  # an audit would be computed
            assert printed.err.startswith("cawa: "), where
            assert printed.err.count("\n") == 1, where
            assert printed.out == "", where
            assert len(printed.err) < 4000, where
    assert len(codes["plan"]) == CASES
    assert set(codes["audit"]) == {2}
    assert 0.05 * CASES < codes["plan"].count(0) < 0.5 * CASES


@pytest.mark.parametrize("make", [generator_of, evaluator_of, real_images_of])
def test_names_of_models_and_folders_that_are_none(make, tmp_path, monkeypatch):
    """Every word is refused in one line, unless it is a name that exists."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.py").write_text("def f(x):\n    return x[\n", encoding="utf-8")
    (tmp_path / "raising.py").write_text("def factory():\n    return 1 / 0\n", encoding="utf-8")
    for word in [word for word in (*WORDS, "broken:f", "raising:factory", "sys:path") if word not in REAL_NAMES]:
        try:
            made = make(word)
        except InputError as error:
            assert "\n" not in str(error).replace(word, "")
        else:
            assert word in MADE, (word, made)
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix) == ["broken.py", "raising.py"]
