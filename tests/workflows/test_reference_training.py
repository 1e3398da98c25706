"""The training of the bundled models, in a few steps on a few images."""

import dataclasses

import pytest
import torch
from torch import nn

from cawa_core.evaluators.small_cnn import SmallClassifier
from cawa_core.generators.small_biggan.network import Architecture
from cawa_core.rendering.pixels import as_floats
from cawa_core.segmenters.small_unet import SmallUNet
from workflows.reference.augmentation import degraded, flipped_and_shifted
from workflows.reference.environment import Environment
from workflows.reference.generator_training import GeneratorTraining, effective_parameter, train_generator
from workflows.reference.supervised_training import (
    SupervisedTraining,
    accuracy,
    n_steps,
    predictions,
    train_supervised,
)
from workflows.reference.training_data import render_scenes

FEW = GeneratorTraining(iterations=3, batch_size=8, average_start=1, statistics_batches=2, statistics_batch_size=10)
TINY = dataclasses.replace(
    FEW,
    architecture=Architecture(
        z_dim=4, embed_dim=3, n_classes=30, base_resolution=16, widths=(4, 4), upsample=(True,), image_channels=3
    ),
    discriminator_widths=(4, 4),
    discriminator_downsample=(True, False),
    iterations=6,
    decay_from=0.5,
    average_every=2,
)  # fmt: skip


def few_images(n=32):
    random = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (n, 1, 28, 28), generator=random, dtype=torch.uint8), torch.arange(n) % 10


@pytest.fixture(scope="module")
def few_scenes():
    return render_scenes(60, seed=1)


def test_the_generator_trains_and_leaves_plain_weights():
    steps = []
    network = train_generator(*few_images(), FEW, lambda step, losses: steps.append((step, losses)))
    assert [step for step, _ in steps] == [1, 2, 3]
    assert all(set(losses) == {"discriminator", "generator"} for _, losses in steps)
    assert not network.training
    assert not any("parametrizations" in name for name in network.state_dict())
    statistics = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert all((layer.running_var > 0).all() and layer.num_batches_tracked == 2 for layer in statistics)
    assert network(torch.randn(2, 64), torch.tensor([0, 9])).abs().max() <= 1


def tensors_of(network):
    return torch.cat([tensor.double().flatten() for tensor in network.state_dict().values()])


def test_a_killed_training_of_a_generator_ends_as_if_it_had_not_been(few_scenes, tmp_path):
    """With a checkpoint after every step, and a stop after the third, in another order of the epoch."""
    data = few_scenes.images, few_scenes.classes
    whole = train_generator(*data, TINY, lambda *_: None)
    environment = Environment(checkpoints=tmp_path, checkpoint_seconds=0.0)

    def kill(step, losses):
        if step == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_generator(*data, TINY, kill, environment)
    steps = []
    resumed = train_generator(*data, TINY, lambda step, _: steps.append(step), environment)
    assert steps == [4, 5, 6]
    assert torch.equal(tensors_of(resumed), tensors_of(whole))
    again = train_generator(*data, TINY, lambda *_: pytest.fail("it was finished"), environment)
    assert torch.equal(tensors_of(again), tensors_of(whole))


def test_a_training_ends_in_time_with_what_it_has_reached(few_scenes):
    environment = Environment(checkpoint_seconds=0.0, seconds=1e-9)
    iterations = []
    network = train_generator(
        few_scenes.images,
        few_scenes.classes,
        TINY,
        lambda *_: pytest.fail("the time is over"),
        environment,
        lambda iteration, _: iterations.append(iteration),
    )
    assert iterations == [0]
    assert not network.training


def test_spectral_norm_is_in_the_effective_weights():
    """A spectrally normed layer's effective weight has a largest singular value of about one."""
    layer = nn.utils.parametrizations.spectral_norm(nn.Linear(20, 20), n_power_iterations=30)
    weight = effective_parameter(nn.ModuleDict({"layer": layer}), "layer.weight").detach()
    assert abs(float(torch.linalg.matrix_norm(weight, ord=2)) - 1) < 0.02


def test_the_classifier_learns_what_it_sees():
    images = torch.zeros(40, 1, 28, 28, dtype=torch.uint8)
    labels = torch.arange(40) % 2
    images[labels == 1, :, 10:18, 10:18] = 255
    settings = SupervisedTraining(epochs=12, batch_size=10)
    losses = []
    network = train_supervised(SmallClassifier, images, labels, settings, lambda _, loss: losses.append(loss))
    assert len(losses) == n_steps(40, settings) == 48
    assert losses[-1] < losses[0]
    assert accuracy(network, images, labels) == 1


def test_a_killed_training_of_a_segmenter_ends_as_if_it_had_not_been(few_scenes, tmp_path):
    data = few_scenes.images[:12], few_scenes.labels[:12]
    settings = SupervisedTraining(epochs=2, batch_size=5, augment=degraded)

    def build():
        return SmallUNet(widths=(4, 6, 8))

    whole = train_supervised(build, *data, settings, lambda *_: None)
    environment = Environment(checkpoints=tmp_path, checkpoint_seconds=0.0)

    def kill(step, loss):
        if step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_supervised(build, *data, settings, kill, environment)
    steps = []
    resumed = train_supervised(build, *data, settings, lambda step, _: steps.append(step), environment)
    assert steps == [3, 4, 5, 6]
    assert torch.equal(tensors_of(resumed), tensors_of(whole))
    assert predictions(resumed, data[0]).shape == (12, 32, 32)


def test_pictures_are_rendered_class_by_class_in_turn(few_scenes):
    more = render_scenes(30, seed=1, first=1)
    assert torch.equal(more.images, few_scenes.images[30:])
    assert torch.equal(more.labels, few_scenes.labels[30:])
    assert few_scenes.classes.tolist() == [*range(30), *range(30)]


def test_augmentation_flips_and_shifts_by_whole_pixels():
    images = as_floats(few_images(16)[0])
    result = flipped_and_shifted(images, torch.Generator().manual_seed(1))
    assert result.shape == images.shape
    kept = result[:, :, 2:-2, 2:-2]
    candidates = [
        torch.stack([image[:, 2 + dy : 26 + dy, 2 + dx : 26 + dx] for image in source])
        for source in (images, images.flip(3))
        for dy in range(-2, 3)
        for dx in range(-2, 3)
    ]
    for index in range(16):
        assert any(torch.equal(kept[index], candidate[index]) for candidate in candidates)


def test_degraded_pictures_stay_where_they_are(few_scenes):
    """They differ, yet each is far nearer to its original than to any other picture."""
    images = as_floats(few_scenes.images[:30])
    result = degraded(images, torch.Generator().manual_seed(1))
    distances = torch.cdist(result.flatten(1), images.flatten(1))
    assert (distances.diagonal() > 0).all()
    assert torch.equal(distances.argmin(dim=1), torch.arange(30))
