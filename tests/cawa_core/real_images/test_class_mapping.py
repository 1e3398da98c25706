import json

import pytest

from cawa_core.errors import InputError
from cawa_core.real_images.class_mapping import map_folders, read_mapping
from tests.cawa_core.real_images.conftest import NAMES, WORDNET_IDS


def folders(root, *names):
    for name in names:
        (root / name).mkdir(parents=True)
    return root


def mapped(root, **options):
    return {class_id: path.name for class_id, path in map_folders(root, NAMES, **options).items()}


def test_wordnet_ids_go_by_the_table_whatever_their_order(tmp_path):
    folders(tmp_path, "n01440764", "n01484850", ".cache")
    (tmp_path / "README").write_text("not a class")
    by_id = mapped(tmp_path, wordnet_ids=("n01484850", "n09999999", "n01440764"))
    assert by_id == {0: "n01484850", 2: "n01440764"}


def test_class_names_count_only_without_wordnet_ids(tmp_path):
    folders(tmp_path, "goldfish", "great white shark")
    assert mapped(tmp_path) == {1: "goldfish", 2: "great white shark"}
    with pytest.raises(InputError, match=r"goldfish belongs to no class.*must be named exactly by WordNet id"):
        mapped(tmp_path, wordnet_ids=WORDNET_IDS)


def test_an_unknown_folder_is_named_with_the_nearest_name(tmp_path):
    folders(tmp_path, "n01440764", "n01443573")
    with pytest.raises(InputError, match=r"n01443573 belongs to no class; did you mean 'n01443537'\?.*class_folders"):
        mapped(tmp_path, wordnet_ids=WORDNET_IDS)


@pytest.mark.parametrize("wordnet_ids", [None, WORDNET_IDS])
def test_numbered_folders_are_refused_with_the_reason(tmp_path, wordnet_ids):
    folders(tmp_path, "0", "1", "100")
    with pytest.raises(InputError, match=r"numbered class folders \(0, 1, 100\).*100 before 2.*give class_folders"):
        mapped(tmp_path, wordnet_ids=wordnet_ids)


def test_numbered_folders_are_refused_even_where_classes_are_named_so(tmp_path):
    folders(tmp_path, "0", "1")
    with pytest.raises(InputError, match="numbered class folders"):
        map_folders(tmp_path, ("0", "1"))


def test_a_csv_file_maps_numbers_names_and_ids(tmp_path):
    folders(tmp_path / "real", "100", "2", "fish, golden")
    file = tmp_path / "mapping.csv"
    file.write_text('\ufefffolder,class\n2,2\n100,n01440764\n"fish, golden",goldfish\n\nabsent,0\n')
    assert mapped(tmp_path / "real", wordnet_ids=WORDNET_IDS, class_folders=file) == {
        0: "100",
        1: "fish, golden",
        2: "2",
    }


def test_a_json_file_overrides_the_names_of_folders(tmp_path):
    folders(tmp_path / "real", "tench", "goldfish")
    file = tmp_path / "mapping.json"
    file.write_text(json.dumps({"tench": 1, "goldfish": "great white shark"}))
    assert mapped(tmp_path / "real", class_folders=file) == {1: "tench", 2: "goldfish"}


def test_a_class_folders_lists_every_folder(tmp_path):
    folders(tmp_path / "real", "fish", "tench")
    file = tmp_path / "mapping.json"
    file.write_text('{"fisch": 0}')
    with pytest.raises(InputError, match=r"fish belongs to no class; did you mean 'fisch'\?; class_folders .* must"):
        mapped(tmp_path / "real", class_folders=file)


def test_two_folders_of_one_class_are_refused(tmp_path):
    folders(tmp_path / "real", "a", "b")
    file = tmp_path / "mapping.json"
    file.write_text('{"a": 1, "b": "goldfish"}')
    with pytest.raises(InputError, match=r"class 1 must have one folder; got .*a and .*b"):
        mapped(tmp_path / "real", class_folders=file)


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("m.csv", "name,class\na,1\n", "header is 'name,class'"),
        ("m.csv", "", "header is ''"),
        ("m.csv", "folder,class\na\n", "row 'a' has 1 fields"),
        ("m.csv", "folder,class\na,0\na,1\n", "folder 'a' is listed twice"),
        ("m.csv", 'folder,class\n"a,0\n', "unexpected end of data"),
        ("m.json", '{"a": 0, "a": 1}', "folder 'a' is listed twice"),
        ("m.json", '[["a", 1]]', "holds a list"),
        ("m.json", "{", "Expecting"),
        ("m.txt", "a 1", r"existing \.csv or \.json file"),
    ],
)
def test_a_bad_class_folders_is_refused(tmp_path, name, content, complaint):
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=complaint):
        read_mapping(tmp_path / name)


@pytest.mark.parametrize("given", ["goldfisch", "3", "-1", "1.0", ""])
def test_an_unknown_class_in_the_class_folders_is_refused(tmp_path, given):
    folders(tmp_path / "real", "a")
    file = tmp_path / "mapping.csv"
    file.write_text(f"folder,class\na,{given}\n")
    with pytest.raises(InputError, match=r"class_folders .*mapping\.csv, folder 'a'"):
        mapped(tmp_path / "real", class_folders=file)


def test_a_folder_without_class_folders_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    for path, complaint in (("absent", "does not exist"), ("file", "is not a folder"), (".", "has no folders")):
        with pytest.raises(InputError, match=complaint):
            mapped(tmp_path / path)


def test_names_that_several_classes_share_cannot_name_folders(tmp_path):
    folders(tmp_path, "crane")
    with pytest.raises(InputError, match="'crane' names several classes"):
        map_folders(tmp_path, ("crane", "crane"))
    with pytest.raises(ValueError, match="one per class, 3; got 1"):
        mapped(tmp_path, wordnet_ids=("n01440764",))
