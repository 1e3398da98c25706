"""A small audited folder, the command line in this process, and what is needed to damage and watch folders."""

import contextlib
import io
import json
import os
import random
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from cawa_core.tables.documents import sealed
from workflows import cli

TINY = (
    *("--executor", "inline", "--classes", "1,8", "--stages", "awareness,class_metrics"),
    *("--awareness-estimators", "closed_form", "--metric-samples", "20", "--ms-ssim-samples", "4"),
    *("--neighbours", "2", "--overlap-k", "10", "--permutations", "20", "--bootstraps", "20"),
)
"""Options of an audit of seconds: two classes, one analysis in several shards, and one with real images."""

ESCAPES = (
    "../victim.txt",
    "tables/../../outside/victim.txt",
    "/etc/passwd",
    "C:\\victim.txt",
    "..\\victim.txt",
    "a\0b",
    ".",
)
ODD_VALUES = (
    *(
        None,
        True,
        -1,
        3,
        10**400,
        1e308,
        float("nan"),
        float("-inf"),
        "",
        "x",
        "x" * 100_000,
        [],
        {},
        [[]],
        [None],
        {"a": 1},
    ),
    *ESCAPES,
)
DOCUMENTS = ("manifest.json", "audit.json", "summary.json")


def cawa(*arguments) -> tuple[int, str, str]:
    """Run the command line; return its exit code and what it printed. An error without an exit code is raised."""
    output, errors = io.StringIO(), io.StringIO()
    before = sys.argv
    sys.argv = ["cawa", *map(str, arguments)]
    try:
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
            cli.main()
    except SystemExit as ending:
        return int(ending.code or 0), output.getvalue(), errors.getvalue()
    finally:
        sys.argv = before
    raise AssertionError("the command line ends with an exit code")


def tiny_audit(folder: Path) -> tuple[int, str, str]:
    """Audit into a folder, or resume its audit."""
    return cawa("audit", "--output", folder, *TINY)


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder but locks; links are not followed, and count by where they lead."""
    return {
        path.relative_to(folder).as_posix(): str(path.readlink()).encode() if path.is_symlink() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if (path.is_symlink() or path.is_file()) and path.name != ".lock"
    }


class Damage:
    """One damaged copy of a folder, the same for the same seed.

    Args:
        folder: copy to damage.
        outside: folder beside it, which nothing may touch.
        seed: of the damage.

    Attributes:
        story: what was done, in words.
        is_forged: whether a document was sealed again after the change, so that nothing but its content gives it away.
    """

    def __init__(self, folder: Path, outside: Path, seed: int) -> None:
        self.folder = folder
        self.outside = outside
        self.rng = random.Random(seed)
        self.is_forged = False
        kinds = (
            *(self.retype, self.retype, self.retype, self.delete, self.duplicate, self.escape, self.journal),
            *(self.truncate, self.flip, self.remove, self.swap, self.replace, self.link, self.stray),
        )
        kind = kinds[seed % len(kinds)]
        self.story = f"seed {seed}: {kind.__name__} {kind()}"

    def retype(self) -> str:
        """Put a value of another type or range into a random place of a document."""
        return self._change(lambda holder, key: holder.__setitem__(key, self.rng.choice(ODD_VALUES)))

    def delete(self) -> str:
        """Delete a random entry of a document."""
        return self._change(lambda holder, key: holder.__delitem__(key))

    def duplicate(self) -> str:
        """Repeat an entry of a list, or enter a value under a second key."""

        def change(holder: Any, key: Any) -> None:
            if isinstance(holder, list):
                holder.insert(key, holder[key])
            else:
                holder[f"{key}-again"] = holder[key]

        return self._change(change)

    def escape(self) -> str:
        """Put a path that leads elsewhere where documents have one: files, digests of what was written, the hash."""
        path = self.rng.choice((*ESCAPES, str(self.outside / "victim.txt")))
        document, change = self.rng.choice(
            (
                ("manifest.json", lambda content: self._receipt(content)["files"][0].update(file=path)),
                ("manifest.json", lambda content: self._receipt(content).update(stage=path)),
                ("manifest.json", lambda content: self._receipt(content)["files"][0].update(table=path)),
                ("manifest.json", lambda content: content["written"].update({path: "0" * 64})),
                ("manifest.json", lambda content: content["shards"].update({path: self._receipt(content)})),
                ("audit.json", lambda content: content.update(hash=path)),
                ("audit.json", lambda content: content["analyses"].update({path: content["analyses"]["awareness"]})),
                ("audit.json", lambda content: content["identity"]["spec"].update(generator=path, real_images=path)),
            )
        )
        content = self._content(document)
        change(content)
        return f"{path!r} in {self._write(document, content)}"

    def journal(self) -> str:
        """Add a journal with a damaged line."""
        name, entry = self.rng.choice(sorted(self._content("manifest.json")["shards"].items()))
        line = {"shard": name, **entry}
        line[self.rng.choice(sorted(line))] = self.rng.choice(ODD_VALUES)
        lines = [json.dumps(line), self.rng.choice(("", "{", json.dumps(line)[:40]))]
        (self.folder / "manifest.jsonl").write_text("\n".join(lines))
        self.is_forged = True  # a journal may add what it likes, within its types
        return "of the journal"

    def truncate(self) -> str:
        """Cut a file short."""
        path, content = self._file()
        path.write_bytes(content[: self.rng.randrange(len(content))])
        return path.name

    def flip(self) -> str:
        """Flip one bit of a file."""
        path, content = self._file()
        place = self.rng.randrange(len(content))
        path.write_bytes(content[:place] + bytes([content[place] ^ 1 << self.rng.randrange(8)]) + content[place + 1 :])
        return path.name

    def remove(self) -> str:
        """Remove a file, or a folder."""
        path, _ = self._file()
        if self.rng.random() < 0.3 and path.parent != self.folder:
            shutil.rmtree(path.parent)
        else:
            path.unlink()
        return path.name

    def swap(self) -> str:
        """Exchange two files."""
        (one, content), (other, other_content) = self._file(), self._file()
        one.write_bytes(other_content)
        other.write_bytes(content)
        return f"{one.name} and {other.name}"

    def replace(self) -> str:
        """Put something else in the place of a file: text, JSON of another kind, a folder."""
        path, _ = self._file()
        path.unlink()
        content = self.rng.choice((b"[]", b"{}", b"{", b"null", b"\xff\xfe", b"PAR1", b"[" * 5000, None))
        if content is None:
            path.mkdir()
        else:
            path.write_bytes(content)
        return f"{path.name} by {content!r:.20}"

    def link(self) -> str:
        """Replace a file or folder by a link to something outside."""
        path, _ = self._file()
        if self.rng.random() < 0.4 and path.parent != self.folder:
            path = path.parent
            shutil.rmtree(path)
            path.symlink_to(self.outside)
        else:
            path.unlink()
            path.symlink_to(self.outside / "victim.txt")
        return path.name

    def stray(self) -> str:
        """Add a file that nothing records where tables are."""
        content = self._file()[1]
        stray = self.folder / "tables" / self.rng.choice(("awareness/part-x-00000000.parquet", "y", "z/.part.a"))
        stray.parent.mkdir(exist_ok=True)
        stray.write_bytes(content)
        return stray.name

    def _file(self) -> tuple[Path, bytes]:
        paths = sorted(path for path in self.folder.rglob("*") if path.is_file() and path.name != ".lock")
        documents = [path for path in paths if path.parent == self.folder]
        path = self.rng.choice(documents if self.rng.random() < 0.4 else paths)
        return path, path.read_bytes()

    def _content(self, document: str) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.folder / document).read_text())
        return content

    def _receipt(self, content: dict[str, Any]) -> dict[str, Any]:
        receipt: dict[str, Any] = self.rng.choice([receipt for _, receipt in sorted(content["shards"].items())])
        return receipt

    def _change(self, change: Callable[[Any, Any], None]) -> str:
        document = self.rng.choice(DOCUMENTS)
        content = self._content(document)
        holder, key = self.rng.choice(list(_places(content)))
        change(holder, key)
        return f"{key!r:.60} of {self._write(document, content)}"

    def _write(self, document: str, content: dict[str, Any]) -> str:
        """Write a changed document, with the seal of the new content or with the old one."""
        self.is_forged = self.rng.random() < 0.6
        if self.is_forged:
            content.pop("digest", None)
            (self.folder / document).write_bytes(sealed(content or {"": 0}))
        else:
            (self.folder / document).write_text(json.dumps(content, indent=1))
        return f"{'forged ' * self.is_forged}{document}"


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every place of a document as its holder and key."""
    keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in list(keys):
        yield value, key
        yield from _places(value[key])


class Watch:
    """Records which files below a folder are opened, listed, renamed or removed in this process, links followed.

    Attributes:
        touched: names of what was touched while the watch was on.
    """

    def __init__(self, folder: Path) -> None:
        self.touched: list[str] = []
        self._root = f"{folder.resolve()}/"
        self._is_on = False
        sys.addaudithook(self._note)

    @contextlib.contextmanager
    def on(self) -> Iterator[None]:
        """Watch within a block."""
        self._is_on = True
        try:
            yield
        finally:
            self._is_on = False

    def _note(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._is_on or event not in EVENTS:
            return
        for path in arguments[:2]:
            if isinstance(path, str | bytes | os.PathLike):
                place = Path(os.fsdecode(path))
                name = str(place.resolve() if event in FOLLOWED else place.parent.resolve() / place.name)
                if f"{name}/".startswith(self._root):
                    self.touched.append(f"{event} {name}")


FOLLOWED = ("open", "os.listdir", "os.scandir", "os.truncate", "os.chmod")
EVENTS = (*FOLLOWED, "os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "shutil.rmtree")
