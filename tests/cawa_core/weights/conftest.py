import random

import pytest

from cawa_core.weights import fetch as fetching
from tests.cawa_core.weights.server import serving

CONTENT = random.Random(0).randbytes(300_000)


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving(CONTENT) as server:
        yield server


@pytest.fixture(autouse=True)
def short_back_off(monkeypatch):
    monkeypatch.setattr(fetching, "BACK_OFF_SECONDS", 0.001)
