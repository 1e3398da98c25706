"""Pages, reports, docstrings, help texts and messages are free of the idioms that a native speaker stumbles over.

A phrase that trips here although it is right wants a narrower pattern in ``IDIOMS``, not an exception.
"""

import ast
import dataclasses
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from workflows.cli import app

ROOT = Path(__file__).parent.parent

COVERED = ("cawa_core", "workflows", "benchmarks")
"""Packages whose string literals, docstrings and names are checked."""

DETERMINERS = {"found", "kept", "made", "one", "others", "ours", "own", "shown", "some", "theirs"}
"""Names that say nothing of what they name."""
COLUMNS = {"kept"}
"""Columns of published tables with such names; a field of a class that holds such a column has its name."""

LABELS = ("a hook and a whole pass a mask", "mean latents a channel")
"""Labels in results/reference/benchmarks.json; benchmarks write them as published until that file is measured again."""

LONGEST_HELP = 200
"""Characters of the help text of an option, without its default."""

PAGES = ("README.md", "CHANGELOG.md", "results/README.md", "docs/*.md")
TEXTS = ("cawa_core/tables/schema.py", "cawa_core/rendering/**/*.html", "cawa_core/rendering/**/*.js")
"""Files besides pages and packages; Python among them by its string literals, the rest line by line."""

COUNTED = (
    "channels?|columns?|degrees? of freedom|fakes|files?|folders?|gradients?|images?|latents?|lines|logits|pictures?|"
    "pixels?|rows?|sample|second|seconds|shards?|sites?|terms?|workers?|MB|GB|GFLOP"
)
COUNTED_OR_DONE = "draws|maps|masks|samples|values"
"""Nouns that are verbs as well, as in "masks a channel"."""
PER = (
    "audit|batch|channel|class|column|core|cluster|image|kind|latent|line|mask|metric|mixture|pass|picture|pixel|"
    "process|round|row|sample|shard|site|unit|worker"
)


@dataclasses.dataclass(frozen=True)
class Idiom:
    """A phrase to avoid.

    Attributes:
        name: the phrase, for the message.
        pattern: regular expression for whole words, in any case.
        better: what to write instead.
    """

    name: str
    pattern: str
    better: str

    def occurrences(self, text: str) -> Iterator[re.Match[str]]:
        """Find the phrase in a text; a line break counts as a space, an empty line ends a phrase."""
        spaced = self.pattern.replace(" ", r"(?:[ \t]+|[ \t]*\n[ \t]*)")
        return re.finditer(rf"\b(?:{spaced})\b", text, flags=re.IGNORECASE)


IDIOMS = (
    Idiom("a class (for each)", rf"(?:{COUNTED}) an? (?:{PER})(?! of)", "'per', not 'a'"),
    Idiom("masks a site (for each)", rf"(?:{COUNTED_OR_DONE}) a (?:class|shard|site|worker)(?! of)", "'per', not 'a'"),
    Idiom("one a class", rf"one an? (?:{PER})(?! of)", "'per', not 'a'"),
    Idiom("a pass a mask", rf"(?:one|two|whole|each|a) pass(?:es)? an? (?:{PER})(?! of)", "'per', not 'a'"),
    Idiom("to a pass", r"to a pass", "per pass"),
    Idiom("a side", r"(?:samples|images|rows) a side", "per side"),
    Idiom("alone", r"of (?:samples|screening|fakes|shards) alone|by (?:\w+ )?rounding alone", "only"),
    Idiom("and kin", r"and (?:its |their )?kin", "and similar metrics"),
    Idiom("anew", "anew", "again, or a verb with re-"),
    Idiom("as it should be", r"if it is what it should be", "check that ..."),
    Idiom("but for", r"but for (?:the|its|their|rounding|a few)", "except for"),
    Idiom("foretell", r"foretell(?:s|ing)?|foretold", "predict"),
    Idiom("from then on, from now on", r"from (?:now|then) on", "afterwards"),
    Idiom("go on", r"(?:go|goes|went|going) on(?! (?:demand|to))|carr(?:y|ies) on", "resume, or continue"),
    Idiom("go without", r"go(?:es)? without", "have no, or lack"),
    Idiom("gone through", r"gone through", "read, or processed"),
    Idiom("heed", r"heed(?:s|ed|ing)?", "honour, or use"),
    Idiom("held against", r"held against", "compared with"),
    Idiom("hold zero", r"holds? zero", "contains zero"),
    Idiom("in hand", r"in hand", "being worked on"),
    Idiom("in the mean", r"in the mean", "on average"),
    Idiom("in whichever", r"in whichever", "in either"),
    Idiom("is none", r"(?:that|it|this) is none(?= of|[.,;:]|$)", "is not a ..."),
    Idiom("is to be", r"(?:is|are) to (?:be|have)", "must be, or should be"),
    Idiom("it is one already", r"it is one already", "it is already 1"),
    Idiom("less (minus)", r"(?:highest|random|lowest|score) less (?:random|lowest|score|the)", "minus"),
    Idiom("mend", r"mend(?:s|ed|ing)?", "fix"),
    Idiom("near to", r"near(?:er)? to", "close to, or closer to"),
    Idiom("nought", r"nought", "zero, or nothing"),
    Idiom("of others", r"(?:latents?|are|is|scores) of (?:\w+ )?others", "of held-out latents"),
    Idiom("of which less", r"of which (?:less|more|most)", "with less of, or with most of"),
    Idiom("oneself", r"oneself", "yourself"),
    Idiom("reals, fakes", r"(?:the|of|as|many|half the|over|all|these|few|several) (?:reals|fakes)", "real images"),
    Idiom("reals against reals", r"reals against reals", "real against real"),
    Idiom("ruled by", r"ruled by", "dominated by"),
    Idiom("stands beside", r"stands? (?:beside|below|under|above)", "is beside"),
    Idiom("sure", r"how sure (?:it is|they are)|are sure enough", "how uncertain it is"),
    Idiom("taken for", r"(?:is|are) taken for", "is considered"),
    Idiom("there are none", r"where there (?:is|are) (?:none|some)", "if there is none"),
    Idiom("thereof", r"(?:there|where)(?:of|upon|with)", "of it"),
    Idiom("to begin with", r"to begin with", "at first, or to start"),
    Idiom("told (progress)", r"told how many", "called with the number of"),
    Idiom("torn between", r"torn between", "undecided between"),
    Idiom("unless said", r"unless (?:said|told)", "unless stated otherwise, or by default"),
    Idiom("which way", r"which way of", "which method of"),
    Idiom("whole picture", r"no whole picture", "incomplete or unreadable image"),
)


@dataclasses.dataclass(frozen=True)
class Passage:
    """Text that a reader sees.

    Attributes:
        where: file, or the name of a command.
        line: where its first line is, from 1.
        text: its words.
    """

    where: str
    line: int
    text: str


def complaints(passages: Iterable[Passage]) -> list[str]:
    """List every idiom in some texts, such as the output of ``--help``: where it is, what to write instead."""
    return [
        f"{passage.where}:{passage.line + passage.text.count(chr(10), 0, match.start())}: "
        f"{' '.join(match.group().split())!r} ({idiom.name}): write {idiom.better}"
        for passage in passages
        for idiom in IDIOMS
        for match in idiom.occurrences(passage.text)
    ]


def passages_of_python(file: Path) -> Iterator[Passage]:
    """Read every string literal of a module: docstrings, help texts, messages; of f-strings the fixed parts.

    Values between the fixed parts count as a word, so that a phrase is not found across them.
    """
    where = file.relative_to(ROOT).as_posix() if file.is_relative_to(ROOT) else file.name
    tree = ast.parse(file.read_text())
    within = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = (part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
            yield Passage(where, node.lineno, "".join(map(str, parts)))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in within:
            yield Passage(where, node.lineno, node.value)


def passages_of(file: Path) -> Iterator[Passage]:
    """Read the text of a file, without published labels and the generated table of benchmarks, which are data."""
    if file.suffix == ".py":
        for passage in passages_of_python(file):
            yield dataclasses.replace(passage, text=re.sub("|".join(LABELS), "{}", passage.text))
        return
    text = file.read_text()
    if file.name == "benchmarks.md":
        text = re.sub(r"^\|.*$", "", text, flags=re.MULTILINE)
    yield Passage(file.relative_to(ROOT).as_posix(), 1, text)


def passage_of_help(command: str, output: str) -> Passage:
    """Read what a command prints for ``--help``, without the boxes that break its sentences."""
    return Passage(command, 1, re.sub(r"[│╭╮╰╯─|]", " ", output))


def commands() -> dict[str, typer.core.TyperCommand]:
    """Return the commands of ``cawa`` by name."""
    return dict(typer.main.get_command(app).commands)


def helps_of_options() -> Iterator[tuple[str, str]]:
    """Yield the name and the help text, without a default in brackets, of every option and argument of each command."""
    for name, command in commands().items():
        for option in command.params:
            text = re.sub(r" *\[dim\].*\[/dim\]$", "", option.help or "", flags=re.DOTALL)
            yield f"cawa {name} {option.opts[0]}", text


def faults_of_help(option: str, text: str) -> list[str]:
    """List what keeps the help text of an option from being a short sentence."""
    faults = []
    if not text[:1].isupper():
        faults.append(f"{option}: begin with a capital letter; got {text[:60]!r}")
    if not text.endswith("."):
        faults.append(f"{option}: end with a period; got {text[-60:]!r}")
    if len(text) > LONGEST_HELP:
        faults.append(f"{option}: write at most {LONGEST_HELP} characters; got {len(text)}")
    return faults


def fragments(file: Path) -> list[str]:
    """List the docstrings of a module, its attributes' included, that make sense only as the end of a name."""
    return [
        f"{file.relative_to(ROOT).as_posix()}:{node.lineno}: {node.value.value[:60]!r}: write a sentence"
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        if re.match(r"(?:As|At|But|By|For|From|Of|To|Until|What|Where|Which|With)\b", node.value.value)
    ]


def determiners_as_names(file: Path) -> list[str]:
    """List the variables and parameters of a module that are named by a participle or a determiner."""
    tree = ast.parse(file.read_text())
    members = [member for kind in ast.walk(tree) if isinstance(kind, ast.ClassDef) for member in kind.body]
    fields = [member.target for member in members if isinstance(member, ast.AnnAssign)]
    columns = [field for field in fields if isinstance(field, ast.Name) and field.id in COLUMNS]
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name) and node not in columns]
    variables = [(node.id, node) for node in names]
    parameters = [(node.arg, node) for node in ast.walk(tree) if isinstance(node, ast.arg)]
    return [
        f"{file.relative_to(ROOT).as_posix()}:{node.lineno}: {name!r}: say what it is"
        for name, node in variables + parameters
        if name in DETERMINERS and not (isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load))
    ]


def files_to_check() -> list[Path]:
    files = [file for pattern in (*PAGES, *TEXTS) for file in sorted(ROOT.glob(pattern))]
    return files + modules_covered()


def modules_covered() -> list[Path]:
    paths = [ROOT / covered for covered in COVERED]
    return [file for path in paths for file in sorted(path.rglob("*.py"))]


@pytest.mark.parametrize("file", files_to_check(), ids=lambda file: file.relative_to(ROOT).as_posix())
def test_texts_are_free_of_idioms(file):
    assert not complaints(passages_of(file)), "\n".join(["", *complaints(passages_of(file))])


@pytest.mark.parametrize("file", modules_covered(), ids=lambda file: file.relative_to(ROOT).as_posix())
def test_docstrings_are_sentences_and_names_are_nouns(file):
    faults = fragments(file) + determiners_as_names(file)
    assert not faults, "\n".join(["", *faults])


@pytest.mark.parametrize("command", ["", *commands()])
def test_help_is_free_of_idioms(command):
    result = CliRunner().invoke(app, [*command.split(), "--help"])
    assert result.exit_code == 0, result.output
    passage = passage_of_help(f"cawa {command} --help", result.output)
    assert "Usage" in passage.text
    assert not complaints([passage]), "\n".join(["", *complaints([passage])])


def test_help_of_every_option_is_a_short_sentence():
    faults = [fault for option, text in helps_of_options() for fault in faults_of_help(option, text)]
    assert not faults, "\n".join(["", *faults])


def test_faults_of_help_are_recognised():
    assert faults_of_help("--seed", "Seed of all randomness.") == []
    assert len(faults_of_help("--seed", "")) == 2
    assert len(faults_of_help("--seed", "seed of all randomness")) == 2
    assert len(faults_of_help("--seed", f"Seed {LONGEST_HELP * 'x'}.")) == 1


def test_help_is_read_across_its_boxes():
    output = "│ --out   What foretells and │\n│         kin.               │"
    assert len(complaints([passage_of_help("cawa --help", output)])) == 2


def test_every_pattern_matches_files():
    for pattern in (*PAGES, *TEXTS):
        assert list(ROOT.glob(pattern)), pattern
    for covered in COVERED:
        assert (ROOT / covered).exists(), covered


def test_labels_are_published():
    published = (ROOT / "results/reference/benchmarks.json").read_text()
    for label in LABELS:
        assert label in published, f"{label!r} is no longer published: write the benchmark's label in plain English"


def test_complaints_name_file_line_phrase_and_remedy():
    assert complaints([Passage("page.md", 7, "First line.\nWhat foretells the\neffect.")]) == [
        "page.md:8: 'foretells' (foretell): write predict"
    ]


@pytest.mark.parametrize(
    "text",
    [
        "Latents a class for Monte Carlo awareness.",
        "FID and kin",
        "one worker a core",
        "`--weights` heeds the cache",
        "mend z_dim or",
        "run the same command to go\non",
        "weights must be a file, and it is none",
        "the KID of the reals",
        "half the fakes",
        "Render the page anew.",
        "float32 unless said",
        "a hook and a whole pass a mask",
        "0.5 GB a shard",
    ],
)
def test_idioms_are_recognised(text):
    assert len(complaints([Passage("text", 1, text)])) == 1


@pytest.mark.parametrize(
    "text",
    [
        "Latents per class for Monte Carlo awareness.",
        "Images of a class, and masks of a site.",
        "a mask at a site",
        "`exact` masks a channel and draws a sample of a class",
        "The network takes a class; it recommends amending nothing.",
        "None of these needs a forward pass.",
        "workers on demand",
        "# Audit folders\n\nAn audit folder grows.",
        "n_real real images and n_fake generated ones",
    ],
)
def test_plain_english_passes(text):
    assert complaints([Passage("text", 1, text)]) == []


def test_strings_of_python_are_found_with_their_lines(tmp_path):
    module = tmp_path / "module.py"
    module.write_text('"""First.\n\nIt foretells."""\nx = f"latents a {1} and kin" + "anew"\nfakes_of = "goes on"\n')
    lines = [complaint.split(": ")[0] for complaint in complaints(passages_of_python(module))]
    assert sorted(lines) == ["module.py:3", "module.py:4", "module.py:4", "module.py:5"]
