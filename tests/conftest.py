"""Fixtures: a tiny random generator for logic, the bundled models for integration."""

import gc
import os
import shutil

import pytest
import torch
from filelock import FileLock
from torch import nn

from cawa_core.evaluators.base import EvaluatorRequest
from cawa_core.evaluators.small_cnn import FashionCNN, SmallClassifier
from cawa_core.generators.request import GeneratorRequest
from cawa_core.generators.small_biggan.generator import FashionBigGAN
from cawa_core.generators.small_biggan.network import Architecture, SmallBigGANNetwork
from tests import google_store
from tests.object_store import BUCKET, CREDENTIALS, FaultyProxy, moto_server


def pytest_collection_modifyitems(items):
    """Put the files that start Ray first, then the other slow ones, so that no worker ends with a long file alone."""
    slow_files = {item.path for item in items if item.get_closest_marker("slow")}
    ray_files = {item.path for item in items if item.get_closest_marker("ray")}
    items.sort(key=lambda item: (item.path not in ray_files, item.path not in slow_files))


def random_fashion_generator(seed: int = 0) -> FashionBigGAN:
    """A small generator with random weights and random batch norm statistics."""
    torch.manual_seed(seed)
    shape = Architecture(z_dim=6, embed_dim=5, widths=(12, 10, 8, 6))
    network = SmallBigGANNetwork(shape)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_(std=0.3)
            layer.running_var.uniform_(0.5, 2.0)
    for norm in network.conditional_norms():
        norm.gain.weight.data.normal_(std=0.06)
        norm.offset.weight.data.normal_(std=0.3)
    return FashionBigGAN(network, digest="random")


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory):
    """Tests leave the user's cache alone, and find nothing in it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CAWA_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def made_once(tmp_path_factory):
    """Function that makes a folder the first time that any process of the run asks for it by name."""
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent  # each process has a folder of its own in there

    def folder_of(name, make):
        folder, is_made = root / name, root / f"{name}.made"
        with FileLock(root / f"{name}.lock"):
            if not is_made.exists():
                shutil.rmtree(folder, ignore_errors=True)  # of a process that failed
                make(folder)
                is_made.touch()
        return folder

    return folder_of


@pytest.fixture
def tiny_generator() -> FashionBigGAN:
    return random_fashion_generator()


@pytest.fixture
def tiny_evaluator() -> FashionCNN:
    torch.manual_seed(1)
    return FashionCNN(SmallClassifier(), digest="random")


@pytest.fixture(scope="session")
def bundled_generator() -> FashionBigGAN:
    return FashionBigGAN.bundled(GeneratorRequest("fashion-biggan"))


@pytest.fixture(scope="session")
def bundled_evaluator() -> FashionCNN:
    return FashionCNN.bundled(EvaluatorRequest("fashion-cnn"))


@pytest.fixture(scope="session")
def chromium() -> str:
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no chromium on this machine; install it (Debian: apt-get install chromium) for the browser tests")
    return path


@pytest.fixture(scope="module")
def browser(chromium):
    from playwright.sync_api import sync_playwright

    quiet = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=chromium, args=[*quiet, "--disable-sync", "--no-first-run"])
        yield found
        found.close()


@pytest.fixture(scope="session")
def s3_port():
    """Port of a local S3."""
    with moto_server() as port:
        yield port


@pytest.fixture
def proxy(s3_port, monkeypatch):
    """S3 behind a proxy that does nothing yet; the environment points there."""
    proxy = FaultyProxy(s3_port)
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{proxy.port}")
    yield proxy
    proxy.close()


@pytest.fixture(scope="session")
def google_port():
    """Port of a local Google Cloud Storage."""
    with google_store.google_server(BUCKET) as port:
        yield port


@pytest.fixture
def google_proxy(google_port, monkeypatch):
    """Google Cloud Storage behind a proxy that does nothing yet; the environment points there."""
    proxy = FaultyProxy(google_port)
    for name, value in google_store.CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("GOOGLE_BASE_URL", f"http://127.0.0.1:{proxy.port}")
    yield proxy
    proxy.close()


def pytest_sessionfinish():
    """Commands that ran in this process have frozen what imports left; libraries would call it leaked."""
    gc.unfreeze()
