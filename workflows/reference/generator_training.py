"""Train the bundled generator from scratch: hinge loss, projection discriminator, spectral norm, weight average."""

from __future__ import annotations

import copy
import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

from cawa_core.generators.small_biggan.network import Architecture, SmallBigGANNetwork
from cawa_core.rendering.pixels import as_floats
from workflows.reference.discriminator import ProjectionDiscriminator
from workflows.reference.environment import Environment, Session, ShuffledBatches, on_device


@dataclasses.dataclass(frozen=True)
class GeneratorTraining:
    """Settings of the training (Brock et al. 2019, scaled down to two CPU cores); the defaults are fashion-biggan's.

    Attributes:
        architecture: sizes of the generator.
        discriminator_widths, discriminator_downsample: sizes of the discriminator.
        average_every: steps between two updates of the weight average.
        decay_from: share of the training after which the learning rates fall linearly towards 0.
    """

    architecture: Architecture = dataclasses.field(default_factory=Architecture)
    discriminator_widths: tuple[int, ...] = (64, 128, 128)
    discriminator_downsample: tuple[bool, ...] = (True, True, False)
    iterations: int = 9000
    batch_size: int = 64
    generator_learning_rate: float = 1e-4
    discriminator_learning_rate: float = 4e-4
    average_decay: float = 0.999
    average_start: int = 500
    average_every: int = 1
    decay_from: float = 1.0
    statistics_batches: int = 100
    statistics_batch_size: int = 250
    seed: int = 0


class WeightAverage:
    """Exponential average of the *effective* weights (spectral norm applied), kept in a plain network."""

    def __init__(self, trained: SmallBigGANNetwork, settings: GeneratorTraining) -> None:
        self.settings = settings
        self.network = SmallBigGANNetwork(trained.architecture).requires_grad_(False)

    @torch.no_grad()
    def update(self, trained: nn.Module, iteration: int) -> None:
        """Move the average towards the trained weights; up to iteration ``start`` it follows them closely."""
        settings = self.settings
        if iteration % settings.average_every:
            return
        weight = 1 - settings.average_decay**settings.average_every if iteration > settings.average_start else 0.1
        names, averages = zip(*self.network.named_parameters(), strict=True)
        torch._foreach_lerp_(list(averages), [effective_parameter(trained, name) for name in names], weight)


def effective_parameter(module: nn.Module, name: str) -> Tensor:
    """Return a parameter as the forward pass uses it, by its dotted name."""
    *path, leaf = name.split(".")
    return getattr(module.get_submodule(".".join(path)), leaf)  # type: ignore[no-any-return]


def with_spectral_norm(module: nn.Module, device_type: str = "cpu") -> nn.Module:
    """Apply spectral norm to every convolution, linear layer and embedding; it is computed in float32."""
    for layer in list(module.modules()):
        if isinstance(layer, nn.Conv2d | nn.Linear | nn.Embedding):
            norm = spectral_norm(layer).parametrizations.weight[0]  # type: ignore[union-attr, index]
            # Under autocast, a GPU would iterate in bfloat16 and mix both types.
            norm.forward = torch.autocast(device_type, enabled=False)(norm.forward)  # type: ignore[union-attr]
    return module


def initialise_orthogonally(module: nn.Module) -> None:
    """Set orthogonal weights and zero biases (Brock et al. 2019, Appendix C)."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear | nn.Embedding):
            nn.init.orthogonal_(layer.weight)
            if getattr(layer, "bias", None) is not None:
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]


def hinge_loss(logits: Tensor, n_real: int) -> Tensor:
    """Return the discriminator's loss on the logits of real images followed by generated ones."""
    on_real, on_fake = logits.float().split([n_real, len(logits) - n_real])
    return functional.relu(1 - on_real).mean() + functional.relu(1 + on_fake).mean()


@torch.no_grad()
def with_standing_statistics(network: SmallBigGANNetwork, settings: GeneratorTraining) -> SmallBigGANNetwork:
    """Return a copy in eval mode whose batch norms hold the mean statistics over many latents of all classes."""
    random = torch.Generator().manual_seed(settings.seed + 1)
    result = copy.deepcopy(network).train()
    shape = network.architecture
    device = network.linear.weight.device
    for layer in result.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.reset_running_stats()
            layer.momentum = None
    for _ in range(settings.statistics_batches):
        z = torch.randn(settings.statistics_batch_size, shape.z_dim, generator=random)
        result(z.to(device), torch.arange(settings.statistics_batch_size, device=device) % shape.n_classes)
    return result.eval()


class GeneratorTrainer:
    """Generator, discriminator, weight average and optimisers in training.

    Args:
        images: uint8 ``[n, C, H, W]``, on the device of the environment.
        labels: class of each image, int64 ``[n]``.
        settings: settings of the training.
        environment: device and arithmetic.

    Attributes:
        iteration: steps taken.
    """

    def __init__(self, images: Tensor, labels: Tensor, settings: GeneratorTraining, environment: Environment) -> None:
        self.images = images
        self.labels = labels
        self.settings = settings
        self.environment = environment
        self.iteration = 0
        torch.manual_seed(settings.seed)
        self.random = torch.Generator(environment.device).manual_seed(settings.seed)
        shape = settings.architecture
        generator = SmallBigGANNetwork(shape)
        discriminator = ProjectionDiscriminator(
            shape.n_classes, settings.discriminator_widths, settings.discriminator_downsample, shape.image_channels
        )
        for network in (generator, discriminator):
            initialise_orthogonally(network)
            on_device(with_spectral_norm(network, environment.device.type), environment)
        self.generator = generator
        self.discriminator = discriminator
        self.average = WeightAverage(generator, settings)
        on_device(self.average.network, environment)
        adam = functools.partial(
            torch.optim.Adam, betas=(0.0, 0.999), eps=1e-6, fused=environment.device.type == "cuda" or None
        )
        self.adam_g = adam(generator.parameters(), settings.generator_learning_rate)
        self.adam_d = adam(discriminator.parameters(), settings.discriminator_learning_rate)
        self.batches = ShuffledBatches(len(images), settings.batch_size, self.random, keep_rest=False)

    def step(self, progress: float = 0.0) -> dict[str, Tensor]:
        """Take one step of the discriminator and one of the generator; return their losses.

        Args:
            progress: share of the training that is over, for the learning rates.
        """
        self._set_learning_rates(progress)
        rows = next(self.batches)
        real = as_floats(self.images[rows]).contiguous(memory_format=torch.channels_last)
        z, classes = self._draw()
        with torch.no_grad(), self.environment.autocast():
            fake = self.generator(z, classes)
            both = torch.cat([real, fake.to(real)])
        with self.environment.autocast():
            logits = self.discriminator(both, torch.cat([self.labels[rows], classes]))
        losses = {"discriminator": self._descend(self.adam_d, hinge_loss(logits, len(real)))}
        # The generator's step keeps the classes: only the latents are drawn again.
        z = self._latents()
        self.discriminator.requires_grad_(False)
        with self.environment.autocast():
            logits = self.discriminator(self.generator(z, classes), classes)
        losses["generator"] = self._descend(self.adam_g, -logits.float().mean())
        self.discriminator.requires_grad_(True)
        self.iteration += 1
        self.average.update(self.generator, self.iteration)
        return losses

    def result(self) -> SmallBigGANNetwork:
        """Return the averaged network with standing statistics."""
        return with_standing_statistics(self.average.network, self.settings)

    def state(self) -> dict[str, Any]:
        """Return everything that decides the later steps."""
        parts = {name: getattr(self, name).state_dict() for name in ("generator", "discriminator", "adam_g", "adam_d")}
        average = self.average.network.state_dict()
        return {**parts, "average": average, "batches": self.batches.state(), "iteration": self.iteration}

    def load(self, state: dict[str, Any]) -> None:
        """Resume where a state was taken."""
        for name in ("generator", "discriminator", "adam_g", "adam_d"):
            getattr(self, name).load_state_dict(state[name])
        self.average.network.load_state_dict(state["average"])
        self.batches.load(state["batches"])
        self.iteration = state["iteration"]

    def _latents(self) -> Tensor:
        shape = (self.settings.batch_size, self.settings.architecture.z_dim)
        return torch.randn(shape, generator=self.random, device=self.environment.device)

    def _draw(self) -> tuple[Tensor, Tensor]:
        z = self._latents()
        n_classes, size = self.settings.architecture.n_classes, (self.settings.batch_size,)
        return z, torch.randint(n_classes, size, generator=self.random, device=self.environment.device)

    def _set_learning_rates(self, progress: float) -> None:
        settings = self.settings
        if settings.decay_from == 1:
            return
        factor = min(1.0, max(0.02, (1 - progress) / (1 - settings.decay_from)))
        self.adam_g.param_groups[0]["lr"] = settings.generator_learning_rate * factor
        self.adam_d.param_groups[0]["lr"] = settings.discriminator_learning_rate * factor

    @staticmethod
    def _descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> Tensor:
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()


def train_generator(
    images: Tensor,
    labels: Tensor,
    settings: GeneratorTraining,
    on_step: Callable[[int, dict[str, Tensor]], None],
    environment: Environment | None = None,
    on_checkpoint: Callable[[int, SmallBigGANNetwork], None] | None = None,
    name: str = "generator",
) -> SmallBigGANNetwork:
    """Train a generator; return the averaged network with standing statistics.

    Args:
        images: uint8 ``[n, C, H, W]``.
        labels: class of each image, int64 ``[n]``.
        settings: settings of the training.
        on_step: receives the iteration (from 1) and the losses.
        environment: device, arithmetic, time limit, and where checkpoints lie; None: this CPU without checkpoints.
        on_checkpoint: receives the iteration and the averaged network with standing statistics at each checkpoint
            and at the end.
        name: name of the checkpoint.
    """
    environment = environment or Environment()
    session = Session(name, environment)
    trainer = GeneratorTrainer(images.to(environment.device), labels.to(environment.device), settings, environment)
    saved = session.saved()
    if saved is not None:
        trainer.load(saved)
    while trainer.iteration < settings.iterations and session.share_of_time() < 1:
        progress = max(trainer.iteration / settings.iterations, session.share_of_time())
        losses = trainer.step(progress)
        on_step(trainer.iteration, losses)
        if session.save(trainer.state) and on_checkpoint is not None:
            on_checkpoint(trainer.iteration, trainer.result())
    session.save(trainer.state, now=True)
    network = trainer.result()
    if on_checkpoint is not None:
        on_checkpoint(trainer.iteration, network)
    return network
