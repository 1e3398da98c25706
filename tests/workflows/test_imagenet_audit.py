"""The ImageNet path, offline: BigGAN-deep with random weights from a folder, Inception, VGG, real-image folders.

The generator has the published layout at 128 pixels and a sixteenth of the width; the evaluators are of full size.
"""

import json
import shutil

import pytest
import torch
from PIL import Image
from torchvision import models

from cawa_core.generators.class_tables import imagenet_classes
from cawa_core.tables import Manifest
from tests.biggan_deep_models import save_folder, tiny_network
from tests.cawa_core.evaluators.test_imagenet import random_fid_network
from tests.workflows.test_cli import run

pytestmark = pytest.mark.slow

CLASSES = (207, 281, 817)
MOBILENET = "torchvision/mobilenet_v3_small"
PICTURES = 9  # with one broken file, a tenth cannot be read: as many as are left out without a question
TINY = (
    *("--masking-latents", 2, "--control-latents", 2, "--masking-group-size", 128, "--control-repeats", 1),
    *("--metric-samples", 20, "--ms-ssim-samples", 4, "--permutations", 20, "--bootstraps", 20),
    *("--executor", "inline", "--offline"),
)


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory):
    """Weights of the four networks and a folder of class folders, with one file that is no picture."""
    root = tmp_path_factory.mktemp("imagenet")
    save_folder(tiny_network(), root / "deep")
    torch.manual_seed(0)
    networks = {
        "inception-v3": models.inception_v3(weights=None, init_weights=False),
        "vgg16": models.vgg16(weights=None),
        "mobilenet": models.mobilenet_v3_small(weights=None),
    }
    for name, network in {**networks, "fid-inception": random_fid_network()}.items():
        torch.save(network.state_dict(), root / f"{name}.pth")
    for class_id in CLASSES:
        folder = root / "pictures" / imagenet_classes().wordnet_ids[class_id]
        folder.mkdir(parents=True)
        for index, image in enumerate(pictures(class_id)):
            Image.fromarray(image).save(folder / f"{folder.name}_{index}.JPEG", quality=95)
    (root / "pictures" / "n02099601" / "broken.JPEG").write_bytes(b"not a picture")
    return root


def pictures(class_id):
    network = tiny_network()
    z = torch.randn(PICTURES, network.config.z_dim, generator=torch.Generator().manual_seed(class_id))
    labels = torch.nn.functional.one_hot(torch.full((PICTURES,), class_id), 1000).float()
    with torch.inference_mode():
        return ((network(z, labels, 1.0) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()


def audit(
    monkeypatch,
    capsys,
    imagenet,
    output,
    *arguments,
    weights=("inception-v3", "vgg16", "fid-inception"),
    classes=CLASSES,
    report="--no-report",
):
    files = (name if "=" in name else f"{name}={imagenet / name}.pth" for name in weights)
    given = ",".join([str(imagenet / "deep"), *files])
    named = ("--generator", "biggan-deep-128", "--classes", ",".join(map(str, classes)), "--cache", imagenet / "cache")
    return run(monkeypatch, capsys, "audit", *named, "--weights", given, "--output", output, *TINY, report, *arguments)


def test_awareness_needs_weights_of_the_generator_alone(monkeypatch, capsys, imagenet, tmp_path):
    code, printed = audit(monkeypatch, capsys, imagenet, tmp_path / "a", "--stages", "awareness", weights=())
    assert code == 0, printed.err
    manifest = Manifest.read(tmp_path / "a")
    rows = manifest.table("awareness")
    assert len(rows[rows.estimator == "closed_form"]) == 3 * 20_608 // 16
    identity = json.loads((tmp_path / "a" / "audit.json").read_text())["identity"]
    assert list(identity["digests"]) == ["generator"]
    assert "golden retriever" in (tmp_path / "a" / "audit.json").read_text()


def test_every_site_is_masked(monkeypatch, capsys, imagenet, tmp_path):
    """One class, two latents, with its controls; by a small classifier, since there are hundreds of masks."""
    arguments = ("--stages", "awareness,masking", "--awareness-samples", 50, "--evaluator", MOBILENET)
    code, printed = audit(
        monkeypatch,
        capsys,
        imagenet,
        tmp_path / "a",
        *arguments,
        weights=(f"{MOBILENET}={imagenet / 'mobilenet.pth'}",),
        classes=("golden retriever",),
        report="--report",
    )
    assert code == 0, printed.err
    masking = Manifest.read(tmp_path / "a").table("masking")
    assert list(masking.site.unique()) == list(range(40))
    assert list(masking.protocol.unique()) == [masking.protocol[0]]
    assert masking.protocol[0].startswith(f"{MOBILENET}; [-1, 1] to [0, 1] float32")
    assert masking.score_change_abs.max() > 0
    assert (tmp_path / "a" / "report.html").exists()


def test_metrics_of_three_networks_on_a_folder_of_pictures(monkeypatch, capsys, imagenet, tmp_path):
    output, cache = tmp_path / "audit", imagenet / "cache" / "features"
    real = ("--real-images", imagenet / "pictures", "--minimum-real-accuracy", 0)
    arguments = (*real, "--stages", "class_metrics")
    code, printed = audit(monkeypatch, capsys, imagenet, output, *arguments, classes=CLASSES[:2], report="--report")
    assert code == 0, printed.err
    metrics = Manifest.read(output).table("class_metrics")
    assert list(metrics.class_name) == ["golden retriever", "tabby"]
    assert list(metrics.n_real) == [PICTURES] * 2
    assert [list(names) for names in metrics.unreadable] == [["broken.JPEG"], []]
    for words in ("evaluator: inception-v3", "fid_features: fid-inception", "manifold_features: vgg16"):
        assert words in metrics.protocol[0]
    assert (output / "report.html").exists()
    assert len(list(cache.iterdir())) == 3 * 2  # networks, classes
    check_that_the_cache_serves(monkeypatch, capsys, imagenet, tmp_path, metrics, arguments)
    check_that_evaluators_do_not_mix(monkeypatch, capsys, imagenet, output, arguments)


def check_that_the_cache_serves(monkeypatch, capsys, imagenet, tmp_path, metrics, arguments):
    """The same pictures in another audit are not looked at again, and give the same rows."""
    before = [path.stat().st_mtime_ns for path in sorted((imagenet / "cache" / "features").iterdir())]
    code, printed = audit(monkeypatch, capsys, imagenet, tmp_path / "b", *arguments, classes=CLASSES[:1])
    assert code == 0, printed.err
    assert [path.stat().st_mtime_ns for path in sorted((imagenet / "cache" / "features").iterdir())] == before
    again = Manifest.read(tmp_path / "b").table("class_metrics")
    assert again.to_json() == metrics[metrics.class_id == CLASSES[0]].reset_index(drop=True).to_json()


def check_that_evaluators_do_not_mix(monkeypatch, capsys, imagenet, output, arguments):
    """Other weights of the same network are another audit."""
    torch.manual_seed(9)
    other = models.inception_v3(weights=None, init_weights=False)
    torch.save(other.state_dict(), imagenet / "other.pth")
    shutil.copy(imagenet / "inception-v3.pth", imagenet / "kept.pth")
    shutil.copy(imagenet / "other.pth", imagenet / "inception-v3.pth")
    try:
        code, printed = audit(monkeypatch, capsys, imagenet, output, *arguments)
    finally:
        shutil.copy(imagenet / "kept.pth", imagenet / "inception-v3.pth")
    assert code == 2
    assert "holds an audit of another subject: " in printed.err


def test_a_wrong_mapping_stops_the_audit_before_it_begins(monkeypatch, capsys, imagenet, tmp_path):
    """Random weights know no class, as right weights know none of a wrong mapping."""
    code, printed = audit(monkeypatch, capsys, imagenet, tmp_path / "a", "--real-images", imagenet / "pictures")
    assert code == 2
    assert "images to their folder's class, fewer than minimum_real_accuracy=0.2" in printed.err
    assert not (tmp_path / "a").exists()


def no_pictures(folder):
    (folder / "n02099601").mkdir(parents=True)
    return folder


def none_readable(folder):
    for class_id in CLASSES:
        (folder / imagenet_classes().wordnet_ids[class_id]).mkdir(parents=True)
        (folder / imagenet_classes().wordnet_ids[class_id] / "a.jpg").write_bytes(b"text")
    return folder


def few_pictures(folder):
    for class_id in CLASSES:
        (folder / imagenet_classes().wordnet_ids[class_id]).mkdir(parents=True)
        Image.new("RGB", (9, 9)).save(folder / imagenet_classes().wordnet_ids[class_id] / "a.jpg")
    return folder


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: folder, "is neither"),
        (lambda folder: folder.mkdir() or folder, "has no folders"),
        (lambda folder: (folder / "0").mkdir(parents=True) or folder, "give class_folders"),
        (no_pictures, "n02099601"),
        (none_readable, "a.jpg"),
        (few_pictures, "real_images must be at least 8 per class"),
    ],
)
def test_folders_without_pictures(monkeypatch, capsys, imagenet, tmp_path, make, message):
    output, arguments = tmp_path / "a", ("--real-images", make(tmp_path / "real"))
    code, printed = audit(monkeypatch, capsys, imagenet, output, *arguments, "--minimum-real-accuracy", 0)
    assert code == 2
    assert message in printed.err
    assert printed.err.count("\n") == 1
    assert not output.exists()


class Trap:
    def __reduce__(self):
        return (pytest.fail, ("code of a checkpoint was run",))


def unharmed(_):
    pass


def cut(folder):
    content = (folder / "pytorch_model.bin").read_bytes()
    (folder / "pytorch_model.bin").write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize(
    ("damage", "arguments", "message"),
    [
        (cut, (), "truncated, damaged or not a checkpoint"),
        (lambda folder: torch.save({"weight": Trap()}, folder / "pytorch_model.bin"), (), "was refused"),
        (lambda folder: (folder / "config.json").unlink(), (), "lacks config.json"),
        (unharmed, ("--device", "cuda"), "device 'cuda' is not on this machine"),
        (unharmed, ("--truncation", "1.5"), "truncation: "),
        (unharmed, ("--dtype", "float8"), "dtype: "),
        (unharmed, ("--stages", "masking"), "may not be fetched (offline)"),
        (unharmed, ("--stages", "class_metrics"), "real_images must be given for biggan-deep-128"),
        (unharmed, ("--classes", "crane"), "give the index or WordNet id"),
    ],
)
def test_damaged_weights_and_wrong_options(monkeypatch, capsys, imagenet, tmp_path, damage, arguments, message):
    folder = shutil.copytree(imagenet / "deep", tmp_path / "weights" / "deep")
    damage(folder)
    arguments = ("--stages", "awareness", *arguments) if "--stages" not in arguments else arguments
    code, printed = audit(monkeypatch, capsys, folder.parent, tmp_path / "a", *arguments, weights=())
    assert code == 2
    assert message in printed.err
    assert printed.err.count("\n") == 1
    assert not (tmp_path / "a").exists()


def test_a_damaged_file_of_the_cache_is_refused(monkeypatch, capsys, imagenet, tmp_path):
    """Its digest was recorded on first use."""
    shutil.copytree(imagenet / "deep", tmp_path / "biggan-deep-128")
    options = ("biggan-deep-128", "--cache", tmp_path, "--offline")
    assert run(monkeypatch, capsys, "sites", *options)[0] == 0
    path = tmp_path / "biggan-deep-128" / "pytorch_model.bin"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    code, printed = run(monkeypatch, capsys, "sites", *options)
    assert code == 2
    assert "pytorch_model.bin" in printed.err
    assert "SHA-256" in printed.err
