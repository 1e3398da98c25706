import pytest

from cawa_core.errors import InputError
from cawa_core.generators.class_tables import ClassTable, imagenet_classes

PETS = ClassTable(("cat", "dog", "bus"))


def test_classes_by_index_and_name():
    assert PETS.resolve_all(()) == (0, 1, 2)
    assert PETS.resolve_all(("bus", 0)) == (0, 2)
    assert PETS.resolve_all(("2",)) == (2,)


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
