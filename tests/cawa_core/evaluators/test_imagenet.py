"""Evaluators of random weights by path, against the libraries they come from."""

import io
import re

import pytest
import timm
import torch
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torchvision import models
from torchvision.transforms import v2

from cawa_core.errors import InputError
from cawa_core.evaluators import EVALUATORS
from cawa_core.evaluators.base import EvaluatorRequest
from cawa_core.evaluators.preprocessing import Preprocessing
from cawa_core.weights import WeightStore


def load(name, path=None):
    return EVALUATORS.make(name, EvaluatorRequest(name, WeightStore({name: str(path)} if path else {}, offline=True)))


def saved(network, folder):
    torch.save(network.state_dict(), folder / "weights.pth")
    return folder / "weights.pth"


def pictures(n=3, side=64, channels=3):
    random = torch.Generator().manual_seed(0)
    coarse = torch.rand(n, channels, 8, 8, generator=random)
    return torch.nn.functional.interpolate(coarse, size=(side, side), mode="bilinear") * 2 - 1


@torch.inference_mode()
def test_inception_sees_what_torchvisions_weights_were_trained_on(tmp_path):
    """Torchvision normalises by ImageNet's colours and undoes it inside (``transform_input``): the same pixels."""
    torch.manual_seed(0)
    network = models.inception_v3(weights=None, transform_input=True, init_weights=False).eval()
    evaluator = load("inception-v3", saved(network, tmp_path))
    images = pictures()
    whole = v2.functional.resize((images + 1) / 2, [299, 299], antialias=True)
    normalised = v2.functional.normalize(whole, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    features = evaluator.features(images)
    assert features.shape == (3, 2048)
    torch.testing.assert_close(evaluator.logits_of_features(features), network(normalised), atol=1e-4, rtol=1e-4)
    assert evaluator.n_classes == 1000
    assert "299 x 299 bilinear antialiased" in evaluator.protocol


@torch.inference_mode()
def test_vgg16_features_are_fc2_after_its_relu(tmp_path):
    torch.manual_seed(0)
    network = models.vgg16(weights=None).eval()
    evaluator = load("vgg16", saved(network, tmp_path))
    images = pictures(2)
    inputs = evaluator.preprocessing(images)
    assert inputs.shape == (2, 3, 224, 224)
    expected = network.classifier[:5](network.avgpool(network.features(inputs)).flatten(1))
    features = evaluator.features(images)
    assert features.shape == (2, 4096)
    assert features.min() == 0
    torch.testing.assert_close(features, expected, atol=1e-5, rtol=1e-4)


@torch.inference_mode()
def test_fid_features_are_torch_fidelitys(tmp_path):
    path = saved(random_fid_network(), tmp_path)
    extractor = load("fid-inception", path)
    network = FeatureExtractorInceptionV3("fid", ["2048"], feature_extractor_weights_path=str(path))
    images = pictures()
    (expected,) = network(((images + 1) * 127.5).round().byte())
    assert torch.equal(extractor.features(images), expected)
    grey = pictures(channels=1)
    assert torch.equal(extractor.features(grey), extractor.features(grey.expand(-1, 3, -1, -1)))
    assert not hasattr(extractor, "n_classes")


def random_fid_network():
    class Untrained(FeatureExtractorInceptionV3):
        def load_state_dict(self, *_, **__):
            return None

    torch.manual_seed(0)
    empty = io.BytesIO()
    torch.save({}, empty)
    empty.seek(0)
    return Untrained("fid", ["2048"], feature_extractor_weights_path=empty)


@torch.inference_mode()
def test_any_classifier_of_torchvision_and_timm(tmp_path):
    torch.manual_seed(0)
    for name, network in (
        ("torchvision/resnet18", models.resnet18(weights=None)),
        ("timm/mobilenetv3_small_050", timm.create_model("mobilenetv3_small_050")),
    ):
        evaluator = load(name, saved(network.eval(), tmp_path))
        images = pictures()
        logits = evaluator.logits_of_features(evaluator.features(images))
        torch.testing.assert_close(logits, network(evaluator.preprocessing(images)), atol=1e-5, rtol=1e-4)
        assert evaluator.log_probabilities(images).dtype == torch.float64
        assert evaluator.protocol.startswith(name)


def test_weights_of_timm_have_one_digest_however_they_came(tmp_path, monkeypatch):
    """The download of its own holds counters that other files may lack."""
    network = timm.create_model("mobilenetv3_small_050")
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.num_batches_tracked += 7
    learned = {name: one for name, one in network.state_dict().items() if not name.endswith("num_batches_tracked")}
    torch.save(learned, tmp_path / "weights.pth")
    monkeypatch.setattr(timm, "create_model", lambda _, **__: network)
    name = "timm/mobilenetv3_small_050"
    fetched = EVALUATORS.make(name, EvaluatorRequest(name, WeightStore({})))
    monkeypatch.undo()
    assert load(name, tmp_path / "weights.pth").digest == fetched.digest


def test_preprocessing_is_torchvisions_antialiased_resize():
    images = pictures(2, side=300)
    expected = v2.functional.resize((images + 1) / 2, [96, 96], antialias=True)
    found = Preprocessing(96, (0.5, 0.4, 0.3), (1.0, 0.5, 2.0))(images)
    means, deviations = torch.tensor([0.5, 0.4, 0.3]), torch.tensor([1.0, 0.5, 2.0])
    torch.testing.assert_close(found, (expected - means.view(-1, 1, 1)) / deviations.view(-1, 1, 1), atol=1e-5, rtol=0)
    same = Preprocessing(300, (0.0,) * 3, (1.0,) * 3)(images[:, :1])
    torch.testing.assert_close(same, ((images[:, :1] + 1) / 2).expand(-1, 3, -1, -1))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("inception-v4", "did you mean 'inception-v3'"),
        ("torchvision/resnet81", "is not a torchvision classifier; did you mean 'resnet18'"),
        ("timm/resnet81", "is not a timm model; did you mean"),
        ("timm/resnet18", r"cannot be fetched offline; give --weights timm/resnet18=PATH"),
        (
            "inception-v3",
            r"inception_v3_google-0cc3c7bd.pth of inception-v3 is not at .*may not be fetched \(offline\)",
        ),
        ("torchvision/resnet18", r"may not be fetched \(offline\); download https://download.pytorch.org"),
        ("nowhere.to.be:found", "must be an importable package.module:factory"),
        ("torch.nn:Nothing", "must be an importable package.module:factory"),
    ],
)
def test_unknown_names_and_missing_weights(name, message, monkeypatch, tmp_path):
    monkeypatch.setenv("CAWA_CACHE", str(tmp_path))
    with pytest.raises(InputError, match=message) as caught:
        load(name)
    assert "\n" not in str(caught.value)


class Trap:
    def __reduce__(self):
        return (pytest.fail, ("code of a checkpoint was run",))


@pytest.mark.parametrize("name", ["inception-v3", "vgg16", "fid-inception", "torchvision/resnet18", "timm/resnet18"])
def test_a_checkpoint_with_code_is_refused(name, tmp_path):
    torch.save({"weight": Trap()}, tmp_path / "weights.pth")
    with pytest.raises(InputError, match="was refused"):
        load(name, tmp_path / "weights.pth")


def test_weights_of_another_network_are_refused_by_tensor(tmp_path):
    path = saved(models.resnet18(weights=None), tmp_path)
    with pytest.raises(InputError, match=r"Conv2d_1a_3x3"):
        load("inception-v3", path)
    with pytest.raises(InputError, match="must hold the FID network"):
        load("fid-inception", path)


def test_bundled_models_take_no_weights(tmp_path):
    with pytest.raises(InputError, match="fashion-cnn brings its own"):
        load("fashion-cnn", tmp_path)


@torch.inference_mode()
@pytest.mark.parametrize("name", ["inception_v3", "googlenet", "densenet121"])
def test_published_checkpoints_of_torchvision(name, tmp_path):
    """Without counters of batches, with DenseNet's dotted names, and with the normalisation undone inside."""
    torch.manual_seed(0)
    options = {} if name == "densenet121" else {"transform_input": True, "init_weights": False}
    network = models.get_model(name, weights=None, **options).eval()
    published = {
        re.sub(r"(denselayer\d+\.(?:norm|conv))(\d)", r"\1.\2", key): tensor
        for key, tensor in network.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    torch.save(published, tmp_path / "weights.pth")
    evaluator = load(f"torchvision/{name}", tmp_path / "weights.pth")
    images = pictures(2)
    side = evaluator.preprocessing.side
    whole = v2.functional.resize((images + 1) / 2, [side, side], antialias=True)
    expected = network(v2.functional.normalize(whole, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    found = evaluator.logits_of_features(evaluator.features(images))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-3)
