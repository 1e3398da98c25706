"""Train the bundled generator from scratch: hinge loss, projection discriminator, spectral norm, weight average."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

from cawa_core.generators.fashion.network import FashionNetwork
from workflows.reference.discriminator import ProjectionDiscriminator


@dataclasses.dataclass(frozen=True)
class GeneratorTraining:
    """Settings of the training (Brock et al. 2019, scaled down to two CPU cores)."""

    iterations: int = 9000
    batch_size: int = 64
    generator_learning_rate: float = 1e-4
    discriminator_learning_rate: float = 4e-4
    average_decay: float = 0.999
    average_start: int = 500
    statistics_batches: int = 100
    statistics_batch_size: int = 250
    seed: int = 0


class WeightAverage:
    """Exponential average of the *effective* weights (spectral norm applied), kept in a plain network."""

    def __init__(self, trained: FashionNetwork, decay: float, start: int) -> None:
        self.decay = decay
        self.start = start
        self.network = FashionNetwork(trained.architecture).requires_grad_(False)

    @torch.no_grad()
    def update(self, trained: nn.Module, iteration: int) -> None:
        """Move the average towards the trained weights; up to iteration ``start`` it follows them closely."""
        weight = 1 - self.decay if iteration > self.start else 0.1
        for name, average in self.network.named_parameters():
            average.lerp_(effective_parameter(trained, name), weight)


def effective_parameter(module: nn.Module, name: str) -> Tensor:
    """Return a parameter as the forward pass uses it, by its dotted name."""
    *path, leaf = name.split(".")
    return getattr(module.get_submodule(".".join(path)), leaf)  # type: ignore[no-any-return]


def with_spectral_norm(module: nn.Module) -> nn.Module:
    """Apply spectral norm to every convolution, linear layer and embedding."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear | nn.Embedding):
            spectral_norm(layer)
    return module


def initialise_orthogonally(module: nn.Module) -> None:
    """Set orthogonal weights and zero biases (Brock et al. 2019, Appendix C)."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear | nn.Embedding):
            nn.init.orthogonal_(layer.weight)
            if getattr(layer, "bias", None) is not None:
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]


def shuffled_batches(
    images: Tensor, labels: Tensor, size: int, random: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield endless batches, each epoch in a new order; the incomplete last batch of an epoch is left out."""
    while True:
        for rows in torch.randperm(len(images), generator=random).split(size):
            if len(rows) == size:
                yield images[rows].contiguous(memory_format=torch.channels_last), labels[rows]


def discriminator_step(
    discriminator: nn.Module,
    optimizer: torch.optim.Optimizer,
    real: Tensor,
    fake: Tensor,
    classes: tuple[Tensor, Tensor],
) -> float:
    """Take one hinge-loss step on real and generated images; return the loss."""
    with torch.autocast(real.device.type, torch.bfloat16):
        logits = discriminator(torch.cat([real, fake.to(real)]), torch.cat(classes))
    on_real, on_fake = logits.float().split([len(real), len(fake)])
    loss = functional.relu(1 - on_real).mean() + functional.relu(1 + on_fake).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return float(loss.detach())


def generator_step(
    generator: nn.Module, discriminator: nn.Module, optimizer: torch.optim.Optimizer, z: Tensor, classes: Tensor
) -> float:
    """Take one step of the generator against the discriminator; return the loss."""
    discriminator.requires_grad_(False)
    with torch.autocast(z.device.type, torch.bfloat16):
        logits = discriminator(generator(z, classes), classes)
    loss = -logits.float().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    discriminator.requires_grad_(True)
    return float(loss.detach())


@torch.no_grad()
def with_standing_statistics(network: FashionNetwork, settings: GeneratorTraining) -> FashionNetwork:
    """Return a copy in eval mode whose batch norms hold the mean statistics over many latents of all classes."""
    random = torch.Generator().manual_seed(settings.seed + 1)
    result = copy.deepcopy(network).train()
    shape = network.architecture
    for layer in result.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.reset_running_stats()
            layer.momentum = None
    for _ in range(settings.statistics_batches):
        z = torch.randn(settings.statistics_batch_size, shape.z_dim, generator=random)
        result(z, torch.arange(settings.statistics_batch_size) % shape.n_classes)
    return result.eval()


def train_generator(
    images: Tensor,
    labels: Tensor,
    settings: GeneratorTraining,
    on_step: Callable[[int, dict[str, float]], None],
) -> FashionNetwork:
    """Train a generator on images ``[n, 1, 28, 28]`` in [-1, 1]; return the averaged network with standing statistics.

    ``on_step`` receives the iteration (from 1) and the losses.
    """
    torch.manual_seed(settings.seed)
    random = torch.Generator().manual_seed(settings.seed)
    generator = FashionNetwork()
    discriminator = ProjectionDiscriminator()
    for network in (generator, discriminator):
        initialise_orthogonally(network)
        with_spectral_norm(network).to(memory_format=torch.channels_last)
    average = WeightAverage(generator, settings.average_decay, settings.average_start)
    adam_g = torch.optim.Adam(generator.parameters(), settings.generator_learning_rate, betas=(0.0, 0.999), eps=1e-6)
    adam_d = torch.optim.Adam(
        discriminator.parameters(), settings.discriminator_learning_rate, betas=(0.0, 0.999), eps=1e-6
    )
    batches = shuffled_batches(images, labels, settings.batch_size, random)
    shape = generator.architecture
    for iteration in range(1, settings.iterations + 1):
        real, real_classes = next(batches)
        z = torch.randn(settings.batch_size, shape.z_dim, generator=random)
        classes = torch.randint(shape.n_classes, (settings.batch_size,), generator=random)
        with torch.no_grad(), torch.autocast(z.device.type, torch.bfloat16):
            fake = generator(z, classes)
        losses = {"discriminator": discriminator_step(discriminator, adam_d, real, fake, (real_classes, classes))}
        z = torch.randn(settings.batch_size, shape.z_dim, generator=random)
        losses["generator"] = generator_step(generator, discriminator, adam_g, z, classes)
        average.update(generator, iteration)
        on_step(iteration, losses)
    return with_standing_statistics(average.network, settings)
