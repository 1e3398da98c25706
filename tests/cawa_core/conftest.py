"""What interventions and applications do, on both kinds of residual generator."""

import pytest

from cawa_core.generators import GENERATORS
from cawa_core.generators.request import GeneratorRequest
from cawa_core.weights import WeightStore
from tests.biggan_deep_models import save_folder, tiny_network


@pytest.fixture(scope="module")
def tiny_deep(tmp_path_factory):
    folder = save_folder(tiny_network(), tmp_path_factory.mktemp("weights") / "deep")
    name = "biggan-deep-128"
    return GENERATORS.make(name, GeneratorRequest(name, WeightStore({name: folder})))


@pytest.fixture(params=["tiny_generator", "tiny_deep"])
def generator(request):
    return request.getfixturevalue(request.param)
