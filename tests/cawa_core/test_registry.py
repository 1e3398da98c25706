import pytest

from cawa_core.errors import InputError
from cawa_core.generators import GENERATORS
from cawa_core.generators.request import GeneratorRequest
from cawa_core.registry import Registry
from cawa_core.weights import WeightStore


def test_an_unknown_name_lists_the_alternatives():
    with pytest.raises(InputError, match=r"generator must be one of .*fashion-biggan.*did you mean 'fashion-biggan'"):
        GENERATORS.factory("fashion-bigan")


def test_a_name_is_given_once():
    registry: Registry[int] = Registry("number")
    registry.register("int", "builtins:int")
    with pytest.raises(ValueError, match="taken by builtins:int"):
        registry.register("int", "builtins:float")
    assert registry.make("int") == 0


def broken():
    raise KeyError("gain")


def seven():
    return 7


def echo(request):
    return request


def at_home(path="here"):
    return path


def test_a_factory_gets_the_request_it_asks_for_and_weights_are_not_lost():
    registry: Registry[object] = Registry("number")
    request = GeneratorRequest("own", WeightStore({"own": "step90000.pt"}))
    assert registry.make(f"{__name__}:at_home", "request") == "here"
    assert registry.make(f"{__name__}:echo", request) is request
    with pytest.raises(InputError, match="own brings its own weights; omit --weights"):
        registry.make(f"{__name__}:at_home", request)


def test_families_and_factories_of_the_users():
    registry: Registry[object] = Registry("number")
    registry.register_family("many", "builtins:str")
    registry.register("int", "builtins:int", base=2)
    assert registry.names() == ["int", "many/NAME"]
    assert registry.make("many/seven", "seven") == "seven"
    assert registry.make(f"{__name__}:seven", "request") == 7
    assert registry.make(f"{__name__}:echo", "request") == "request"
    assert registry.defaults("int") == {"base": 2}
    assert registry.defaults("other:thing") == {}
    with pytest.raises(InputError, match=r"must be an importable package\.module:factory; No module named 'nowhere'"):
        registry.make("nowhere:factory", "request")
    with pytest.raises(
        InputError, match=r":broken' failed: KeyError, 'gain' \(line \d+ of test_registry.py\); fix the"
    ):
        registry.make(f"{__name__}:broken", "request")


def install(folder, monkeypatch, package, points):
    """An installed package as Python sees one: its metadata and its module on the path."""
    (folder / f"{package}-1.0.dist-info").mkdir(parents=True)
    (folder / f"{package}-1.0.dist-info/METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    lines = [f"[numbers]\n{name} = {target}\n" for name, target in points.items()]
    (folder / f"{package}-1.0.dist-info/entry_points.txt").write_text("\n".join(lines))
    (folder / f"{package}.py").write_text("def eight():\n    return 8\n\n\ndef named(request):\n    return request\n")
    monkeypatch.syspath_prepend(str(folder))


def test_installed_packages_register_names(tmp_path, monkeypatch):
    install(tmp_path / "a", monkeypatch, "package_a", {"eight": "package_a:eight"})
    install(tmp_path / "b", monkeypatch, "package_b", {"named": "package_b:named"})
    registry: Registry[object] = Registry("number", group="numbers")
    registry.register("int", "builtins:int")
    registry.register_family("many", "builtins:str")
    assert registry.names() == ["eight", "int", "named", "many/NAME"]
    assert (registry.make("eight", "request"), registry.make("named", "request")) == (8, "request")
    assert [registry.is_foreign(name) for name in ("eight", "int", "many/x", "a.b:c")] == [True, False, False, True]
    assert [registry.knows(name) for name in ("eight", "int", "many/x", "nine")] == [True, True, True, False]
    with pytest.raises(InputError, match=r"one of eight, int, named, many/NAME or package\.module:factory; got 'nine'"):
        registry.make("nine")
    assert Registry("number").names() == []


def test_names_that_packages_register_twice_are_refused(tmp_path, monkeypatch):
    install(tmp_path / "a", monkeypatch, "package_a", {"int": "package_a:eight"})
    registry: Registry[object] = Registry("number", group="numbers")
    registry.register("int", "builtins:int")
    assert registry.make("int") == 0  # its own names need nothing of the packages
    with pytest.raises(
        InputError, match="'int', which package_a registers in numbers, is taken by builtins:int; rename"
    ):
        registry.names()


def test_an_installed_factory_that_cannot_be_imported_is_one_line(tmp_path, monkeypatch):
    install(tmp_path / "a", monkeypatch, "package_a", {"lost": "package_a:nowhere"})
    registry: Registry[object] = Registry("number", group="numbers")
    with pytest.raises(InputError, match="number 'package_a:nowhere' must be an importable"):
        registry.make("lost", "request")
