"""The lab: what it opens for each role, what it refuses, and its pictures, awareness and memory."""

import dataclasses

import numpy as np
import pytest
import torch

import workflows.lab
from cawa_core import interventions
from cawa_core.awareness import closed_form_awareness
from cawa_core.errors import InputError
from cawa_core.generators.base import class_ids_of
from cawa_core.interventions import Intervention, Scale, masks_at
from tests.workflows.test_own_models import OTHERS
from workflows.lab import Lab
from workflows.lab.memo import Memo
from workflows.options.lab import FEATURE_ROLES, ROLES, LabSpec
from workflows.options.run import RunOptions


@pytest.fixture(scope="module")
def lab():
    return Lab.open()


@pytest.fixture
def bent(lab, monkeypatch):
    """The lab of a generator whose site 2 has no closed form of awareness, with a memory of its own."""
    monkeypatch.setattr(type(lab.generator), "is_affine", lambda _, site: site != 2)
    spec = dataclasses.replace(lab.spec, awareness_samples=40)
    return dataclasses.replace(lab, spec=spec, memo=Memo())


def with_changes(lab, **changes):
    """The same lab, memory included, with other options."""
    return dataclasses.replace(lab, spec=dataclasses.replace(lab.spec, **changes))


def test_the_lab_is_imported_from_its_package():
    assert workflows.lab.__all__ == ["Lab"]
    assert Lab.open.__doc__.splitlines()[0] == "Load a generator and what is needed beside it."


@pytest.mark.parametrize("role", FEATURE_ROLES)
def test_a_network_alone(role):
    lab = Lab.open(needs=(role,))
    assert list(lab.networks) == [role]
    assert lab.real_image_set is None
    assert lab.networks[role].name == "fashion-cnn"


def test_real_images_alone():
    lab = Lab.open(needs=("real_images",))
    assert lab.networks == {}
    assert lab.real_images.name == "fashion-mnist-test"
    assert lab.real_images.count_of(3) > 0


def test_a_generator_alone():
    lab = Lab.open(needs=(), classes=["bag", 1])
    assert (lab.networks, lab.real_image_set) == ({}, None)
    assert lab.class_ids == lab.spec.classes == (1, 8)
    assert lab.generator.name == "fashion-biggan"
    assert lab.class_awareness((8,), 0).category_awareness.shape == (1, lab.generator.sites[0].channels)


def test_every_role_at_once_loads_each_network_once():
    lab = Lab.open(needs=ROLES, segmenter="garment-parts")
    assert lab.segmenter.name == "garment-parts"
    assert list(lab.networks) == list(FEATURE_ROLES)
    assert len(set(map(id, lab.networks.values()))) == 1
    assert not any(parameter.requires_grad for parameter in lab.evaluator.parameters())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"needs": ("judge",)}, "needs must be among evaluator, fid_features, .*; got 'judge'"),
        ({"needs": ("evaluator", "evaluator")}, "needs must name each of .* at most once"),
        ({"evaluator": ""}, "evaluator must be given for fashion-biggan; give --evaluator"),
        ({"needs": ("fid_features",), "evaluator": ""}, "fid_features must be given for fashion-biggan"),
        ({"needs": ("real_images",), "real_images": ""}, "real_images must be given for .*; give --real-images"),
        ({"generator": "fashion-bigan"}, "did you mean 'fashion-biggan'?"),
        ({"evaluator": "fashion-ccn"}, "did you mean 'fashion-cnn'?"),
        ({"classes": ["shrit"]}, "no class is named 'shrit'; did you mean 'shirt'?"),
        ({"classes": [8, "bag"]}, "classes"),
        ({"sed": 1}, "unknown option 'sed'; did you mean 'seed'?"),
        ({"seed": -1}, "seed: "),
        ({"options": RunOptions(device="cuda:99")}, "device 'cuda:99' is not on this machine; use --device cpu"),
        ({"truncation_statistics": "package"}, "truncation_statistics are for biggan-deep alone"),
    ],
)
def test_bad_arguments_are_one_clear_line(arguments, message):
    with pytest.raises(InputError, match=message) as caught:
        Lab.open(**arguments)
    assert "\n" not in str(caught.value)


def test_a_generator_of_your_own_brings_no_evaluator(tmp_path, monkeypatch):
    from tests.workflows.test_own_models import PAGE

    (tmp_path / "my_generator.py").write_text(PAGE.read_text().split("```python\n")[1].split("```")[0])
    (tmp_path / "my_models.py").write_text(OTHERS)
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("my_generator", "my_models"):
        monkeypatch.delitem(__import__("sys").modules, name, raising=False)
    with pytest.raises(InputError, match="evaluator must be given for my_models:bent"):
        Lab.open("my_models:bent")
    own = Lab.open("my_models:bent", evaluator="my_models:classifier")
    images, scores = own.images(2, own.latents(2, 3))
    assert (len(images), scores.shape) == (3, (3,))
    assert not own.is_affine


def test_images_are_the_generator_s_and_scores_the_evaluator_s(lab):
    z = lab.latents(3, 5)
    images, scores = lab.images(3, z)
    with torch.inference_mode():
        expected = lab.generator(z, class_ids_of(3, z))
        probabilities = lab.evaluator.log_probabilities(expected).exp()[:, 3]
    assert torch.equal(images, expected)
    np.testing.assert_allclose(scores, probabilities, rtol=1e-5)
    assert scores.dtype == np.float64


def test_interventions_change_images_and_scores_as_the_core_does(lab):
    """At two sites, given in the wrong order; in batches of two."""
    z = lab.latents(8, 5)
    edits = [Intervention(4, (3, 7), Scale(3.0)), *masks_at({1: tuple(range(40))})]
    with torch.inference_mode():
        expected = interventions.run(lab.generator, z, class_ids_of(8, z), edits)
        probabilities = lab.evaluator.log_probabilities(expected).exp()[:, 8]
    images, scores = lab.images(8, z, edits)
    assert torch.equal(images, expected)
    np.testing.assert_allclose(scores, probabilities, rtol=1e-5)
    assert not torch.equal(images, lab.images(8, z)[0])
    batched = dataclasses.replace(lab, batch=type(lab.batch)(2))
    few, few_scores = batched.images(8, z, edits)
    torch.testing.assert_close(few, images, atol=1e-5, rtol=0)
    np.testing.assert_allclose(few_scores, scores, rtol=1e-4, atol=1e-7)


def test_latents_are_the_same_for_all_and_follow_the_seed(lab):
    assert torch.equal(lab.latents(3, 8)[:4], lab.latents(3, 4))
    assert not torch.equal(lab.latents(3, 4), lab.latents(4, 4))
    assert not torch.equal(with_changes(lab, seed=1).latents(3, 4), lab.latents(3, 4))


def test_awareness_in_closed_form_orders_the_channels(lab):
    awareness = lab.class_awareness((3, 8), 2)
    modulation = lab.generator.modulation(2).with_latent_scaled(lab.generator.latent_deviation)
    expected = closed_form_awareness(modulation, lab.class_embeddings[[3, 8]])
    np.testing.assert_array_equal(awareness.category_awareness, expected.category_awareness)
    order = lab.channel_order(8, 2)
    assert (np.diff(awareness.category_awareness[1][order]) >= 0).all()
    assert len(order) == lab.generator.sites[2].channels - len(lab.generator.sites[2].inert_channels)


def test_awareness_that_is_sampled_is_remembered(bent, monkeypatch):
    first = bent.class_awareness((3,), 2)
    measured = []
    real = type(bent).sampled_awareness
    monkeypatch.setattr(type(bent), "sampled_awareness", lambda *given: measured.append(given[1:]) or real(*given))
    assert bent.class_awareness((3,), 2) is first
    bent.channel_order(3, 2)
    assert measured == []
    bent.class_awareness((3,), 1)  # has a closed form
    assert measured == []


@pytest.mark.parametrize("changes", [{"seed": 1}, {"awareness_samples": 20}])
def test_another_seed_or_number_of_samples_gives_another_value(bent, changes):
    """Whoever shares the memory of a lab never gets the value of other options."""
    first = bent.class_awareness((3,), 2).category_awareness
    other = with_changes(bent, **changes)
    assert other.memo is bent.memo
    second = other.class_awareness((3,), 2).category_awareness
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(second, other.sampled_awareness((3,), 2).category_awareness)
    np.testing.assert_array_equal(bent.class_awareness((3,), 2).category_awareness, first)


def test_other_classes_and_sites_have_other_values(bent):
    one, two = (bent.class_awareness((class_id,), 2).category_awareness for class_id in (3, 4))
    assert not np.array_equal(one, two)
    both = bent.class_awareness((3, 4), 2).category_awareness
    np.testing.assert_array_equal(both, np.concatenate([one, two]))


def test_a_memo_computes_once_and_keeps_the_latest_of_a_topic():
    memo = Memo()
    calls = []

    def value(number):
        return lambda: calls.append(number) or number

    assert [memo.once("a", value(1)), memo.once("a", value(2)), memo.once("b", value(3))] == [1, 1, 3]
    assert calls == [1, 3]
    assert [memo.latest("topic", key, value(key)) for key in (4, 4, 5, 4)] == [4, 4, 5, 4]
    assert calls == [1, 3, 4, 5, 4]
    assert memo.once("nothing", lambda: None) is memo.once("nothing", value(6)) is None


def test_a_memo_that_fails_remembers_nothing():
    memo = Memo()
    memo.latest("topic", 1, lambda: "large")
    for remember in (lambda work: memo.once("a", work), lambda work: memo.latest("topic", 2, work)):
        with pytest.raises(ZeroDivisionError):
            remember(lambda: 1 / 0)
        assert remember(lambda: "again") == "again"


def test_all_is_every_class():
    assert Lab.open(needs=(), classes=["all"]).spec.classes == tuple(range(10))
    assert Lab.open(needs=()).class_ids == tuple(range(10))


def test_a_class_that_is_given_twice_counts_once_where_that_is_meant():
    spec = dataclasses.replace(LabSpec(), classes=(8, "bag", 1))
    assert Lab.from_spec(spec, RunOptions(), (), once=False).class_ids == (1, 8)
    with pytest.raises(InputError):
        Lab.from_spec(spec, RunOptions(), ())


def test_the_score_protocol_names_network_weights_and_arithmetic(lab):
    assert lab.score_protocol == f"{lab.evaluator.protocol}; weights {lab.evaluator.digest[:12]}; float32"
    assert with_changes(lab, dtype="bfloat16", compile=True).arithmetic_name == "bfloat16, compiled"
