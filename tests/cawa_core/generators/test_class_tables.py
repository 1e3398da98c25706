import numpy as np
import pytest

from cawa_core.errors import InputError
from cawa_core.generators.class_tables import ClassTable, imagenet_classes
from cawa_core.generators.modules.generator import class_table

PETS = ClassTable(("cat", "dog", "bus"))


def test_classes_by_index_and_name():
    assert PETS.resolve_all(()) == (0, 1, 2)
    assert PETS.resolve_all(("bus", 0)) == (0, 2)
    assert PETS.resolve_all(("2",)) == (2,)


def test_names_may_be_numbers_or_in_any_script():
    assert class_table([3, np.int64(5)]).names == ("3", "5")
    assert class_table(range(2)).names == ("0", "1")
    assert class_table(np.int64(2)).names == ("class 0", "class 1")
    assert ClassTable((7, 8)).names == ("7", "8")
    names = ("桃", "👩\u200d🔬", "$a_1$", "<b>&amp;", "a, b", '5" disk', "אב\u200f", "x" * 120)
    assert class_table(names).names == names
    assert [class_table(names).resolve(name) for name in names] == list(range(len(names)))


@pytest.mark.parametrize(
    "name", ["", " a", "a ", "a\nb", "a\tb", "\x1b[31m", "a\u2028b", "\udcff", "\u202ea", "x" * 121]
)
def test_names_that_a_line_cannot_show(name):
    with pytest.raises(InputError, match=r"names of classes must be 1 to 120 characters on one line.*class 1 has"):
        class_table(["cat", name])


@pytest.mark.parametrize("classes", [0, -1, True, 1.5, None, "cat", (), ["a", "a"], ["1", 1], ["x" * 9] * 1000])
def test_classes_that_are_none(classes):
    with pytest.raises(InputError, match="classes must be a number of at least 1, or a tuple of unique") as caught:
        class_table(classes)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("name", [None, 1.5, True, b"cat", ["a"]])
def test_names_that_are_not_text(name):
    with pytest.raises(InputError, match="names of classes must be text; class 1 has a "):
        class_table(["cat", name])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((3,), r"classes must be in 0\.\.2 or names; got 3"),
        ((-1,), r"classes must be in 0\.\.2"),
        (("dgo",), "no class is named 'dgo'; did you mean 'dog'"),
        (("dog", 1), "each be given once"),
    ],
)
def test_unknown_classes(given, message):
    with pytest.raises(InputError, match=message):
        PETS.resolve_all(given)


def test_the_thousand_classes_of_imagenet():
    table = imagenet_classes()
    assert len(table) == len(set(table.names)) == len(set(table.wordnet_ids)) == 1000
    assert list(table.wordnet_ids) == sorted(table.wordnet_ids)
    assert [table.resolve(one) for one in ("n02099601", "golden retriever", 207, "207")] == [207] * 4
    assert table.resolve("tabby cat") == 281  # a synonym
    assert table.resolve("sports car") == 817
    for name, wordnet_id in zip(table.names, table.wordnet_ids, strict=True):
        assert table.resolve(wordnet_id) == table.wordnet_ids.index(wordnet_id)
        assert name


def test_a_name_of_two_classes_is_refused_with_their_ids():
    with pytest.raises(InputError, match=r"'crane' names classes 134 \(n02012849\) and 517 \(n03126707\); give the"):
        imagenet_classes().resolve("crane")
    assert imagenet_classes().resolve("crane bird") == 134


def test_near_misses_are_suggested_but_never_taken():
    with pytest.raises(InputError, match=r"no class is named 'golden retreiver'; did you mean 'golden retriever'"):
        imagenet_classes().resolve("golden retreiver")
    with pytest.raises(InputError, match="no class is named 'Tench'"):
        imagenet_classes().resolve("Tench")


def test_one_line_a_class():
    assert imagenet_classes().lines()[817] == "817 n04285008 sports car (sport car)"
    assert PETS.lines() == ["0 cat", "1 dog", "2 bus"]


def test_resolving_twice_is_resolving_once():
    """Numbers are indices even where names are numerals: workers resolve what the driver resolved."""
    table = ClassTable(("1", "2", "0"))
    assert table.resolve_all(("2", "0")) == (1, 2)
    assert table.resolve_all(table.resolve_all(())) == (0, 1, 2)
    assert table.resolve_all(table.resolve_all(("2",))) == (1,)
