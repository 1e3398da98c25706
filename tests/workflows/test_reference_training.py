"""The training of the bundled models, in a few steps on a few images."""

import torch
from torch import nn

from workflows.reference.classifier_training import ClassifierTraining, accuracy, augmented, n_steps, train_classifier
from workflows.reference.generator_training import GeneratorTraining, effective_parameter, train_generator

FEW = GeneratorTraining(iterations=3, batch_size=8, average_start=1, statistics_batches=2, statistics_batch_size=10)


def few_images(n=32):
    random = torch.Generator().manual_seed(0)
    return torch.rand(n, 1, 28, 28, generator=random) * 2 - 1, torch.arange(n) % 10


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


def test_spectral_norm_is_in_the_effective_weights():
    """A spectrally normed layer's effective weight has a largest singular value of about one."""
    layer = nn.utils.parametrizations.spectral_norm(nn.Linear(20, 20), n_power_iterations=30)
    weight = effective_parameter(nn.ModuleDict({"layer": layer}), "layer.weight").detach()
    assert abs(float(torch.linalg.matrix_norm(weight, ord=2)) - 1) < 0.02


def test_the_classifier_learns_what_it_sees():
    images = torch.full((40, 1, 28, 28), -1.0)
    labels = torch.arange(40) % 2
    images[labels == 1, :, 10:18, 10:18] = 1.0
    settings = ClassifierTraining(epochs=12, batch_size=10)
    losses = []
    network = train_classifier(images, labels, settings, lambda _, loss: losses.append(loss))
    assert len(losses) == n_steps(40, settings) == 48
    assert losses[-1] < losses[0]
    assert accuracy(network, images, labels) == 1


def test_augmentation_flips_and_shifts_by_whole_pixels():
    images, _ = few_images(16)
    result = augmented(images, 2, torch.Generator().manual_seed(1))
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
