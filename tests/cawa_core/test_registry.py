import pytest

from cawa_core.errors import InputError
from cawa_core.generators import GENERATORS
from cawa_core.registry import Registry


def test_an_unknown_name_lists_the_alternatives():
    with pytest.raises(InputError, match=r"generator must be one of .*fashion-biggan.*did you mean 'fashion-biggan'"):
        GENERATORS.factory("fashion-bigan")


def test_a_name_is_given_once():
    registry: Registry[int] = Registry("number")
    registry.register("int", "builtins:int")
    with pytest.raises(ValueError, match="taken by builtins:int"):
        registry.register("int", "builtins:float")
    assert registry.make("int") == 0
