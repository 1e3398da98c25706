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
