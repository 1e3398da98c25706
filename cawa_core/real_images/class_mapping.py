"""Mapping of class folders to class indices, by name or by a mapping file, never by sort order."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from cawa_core.errors import InputError, suggestion
from cawa_core.generators.class_tables import ClassTable

Pairs = Iterable[tuple[str, Any]]
"""Folder names and their classes as read from a mapping file, not yet checked."""

HELP = (
    "give class_folders: a CSV file with the header folder,class or a JSON object that maps folders to classes; "
    "a class is an index, WordNet id or name"
)


def map_folders(
    folder: Path,
    class_names: Sequence[str],
    wordnet_ids: Sequence[str] | None = None,
    class_folders: Path | None = None,
) -> dict[int, Path]:
    """Map class indices, in ascending order, to the folders of their images.

    Folder names must equal the WordNet ids, or the class names if there are no WordNet ids. A mapping file overrides
    both and must then list every folder. Not every class needs a folder. Hidden folders and files at the top level
    are ignored.

    Raises:
        InputError: ``folder`` has no class folders; a folder belongs to no class, or two folders to the same class;
            folders are numbered and there is no mapping file; the mapping file is bad.
    """
    folders = _class_folders(folder)
    if class_folders is None:
        _refuse_numbers(folder, folders)
        classes = _classes_by_name(class_names, wordnet_ids)
        kind = "WordNet id" if wordnet_ids else "class name"
        advice = f"folders must be named exactly by {kind} ({next(iter(classes))!r} for class 0); rename it, or {HELP}"
    else:
        classes = _classes_by_file(class_folders, ClassTable(tuple(class_names), tuple(wordnet_ids or ())))
        advice = f"class_folders {class_folders} must list every folder; add it there, or remove it from {folder}"
    return _assign(folders, classes, advice)


def read_mapping(file: Path) -> dict[str, Any]:
    """Read a map of folder names to unchecked classes from CSV (header ``folder,class``) or JSON (an object).

    Raises:
        InputError: the file does not exist, is neither CSV nor JSON, is malformed, or lists a folder twice.
    """
    readers: dict[str, Callable[[str], Pairs]] = {".csv": _pairs_of_csv, ".json": _pairs_of_json}
    reader = readers.get(file.suffix.lower())
    if reader is None or not file.is_file():
        raise InputError(f"class_folders must be an existing .csv or .json file; got {file}")
    mapping: dict[str, Any] = {}
    try:
        for name, value in reader(file.read_text(encoding="utf-8-sig")):
            if name in mapping:
                raise ValueError(f"folder {name!r} is listed twice")
            mapping[name] = value
    except OSError as error:
        raise InputError(f"class_folders {file} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError, csv.Error) as error:
        raise InputError(
            f"class_folders {file} must be CSV with the header folder,class or a JSON object that maps folders to "
            f"classes, with each folder once; {error}"
        ) from None
    return mapping


def _class_folders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        state = "is not a folder" if folder.exists() else "does not exist"
        raise InputError(f"real_images must be a folder with one folder of images per class; {folder} {state}")
    folders = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not folders:
        raise InputError(f"real_images must be a folder with one folder of images per class; {folder} has no folders")
    return folders


def _refuse_numbers(folder: Path, folders: list[Path]) -> None:
    numbers = [path.name for path in folders if path.name.isdecimal()]
    if numbers:
        raise InputError(
            f"folder {folder} holds numbered class folders ({', '.join(numbers[:3])}): such numbers often come from "
            f"sorting names as text, which puts 100 before 2, and may not be class indices; {HELP}"
        )


def _classes_by_name(class_names: Sequence[str], wordnet_ids: Sequence[str] | None) -> dict[str, int]:
    names = wordnet_ids or class_names
    if len(names) != len(class_names):
        raise ValueError(f"wordnet_ids must be one per class, {len(class_names)}; got {len(names)}")
    classes = {name: class_id for class_id, name in enumerate(names)}
    if len(classes) < len(names):
        duplicate = next(name for name in names if names.count(name) > 1)
        raise InputError(
            f"class names must be unique to be used as folder names; {duplicate!r} names several classes; {HELP}"
        )
    return classes


def _classes_by_file(file: Path, table: ClassTable) -> dict[str, int]:
    return {
        name: table.resolve(value, f"class_folders {file}, folder {name!r}")
        for name, value in read_mapping(file).items()
    }


def _assign(folders: list[Path], classes: dict[str, int], advice: str) -> dict[int, Path]:
    """Map class indices to folders, given the class of each name; ``advice`` ends the error for an unknown name."""
    folder_of_class: dict[int, Path] = {}
    for path in folders:
        if path.name not in classes:
            raise InputError(f"class folder {path} belongs to no class{suggestion(path.name, classes)}; {advice}")
        class_id = classes[path.name]
        if class_id in folder_of_class:
            raise InputError(
                f"class {class_id} must have one folder; got {folder_of_class[class_id]} and {path}: merge them, "
                "or assign one of them to another class"
            )
        folder_of_class[class_id] = path
    return dict(sorted(folder_of_class.items()))


def _pairs_of_csv(text: str) -> Pairs:
    header, *rows = list(csv.reader(io.StringIO(text, newline=""), skipinitialspace=True, strict=True)) or [[]]
    if header != ["folder", "class"]:
        raise ValueError(f"the header is {','.join(header)!r}")
    for row in filter(None, rows):
        if len(row) != 2:
            raise ValueError(f"the row {','.join(row)!r} has {len(row)} fields")
        yield row[0], row[1]


def _pairs_of_json(text: str) -> Pairs:
    # Objects become tuples of pairs, which distinguishes them from arrays and preserves duplicate keys.
    pairs = json.loads(text, object_pairs_hook=tuple)
    if not isinstance(pairs, tuple):
        raise ValueError(f"the file holds a {type(pairs).__name__}")
    return pairs
