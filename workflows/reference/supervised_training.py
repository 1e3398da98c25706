"""Train the bundled classifiers and segmenters from scratch: cross-entropy and a one-cycle learning rate."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from cawa_core.rendering.pixels import as_floats
from workflows.reference.augmentation import flipped_and_shifted
from workflows.reference.environment import Environment, Session, ShuffledBatches, on_device

Network = TypeVar("Network", bound=nn.Module)


@dataclasses.dataclass(frozen=True)
class SupervisedTraining:
    """Settings of the training; the defaults are those of ``fashion-cnn``.

    Attributes:
        augment: random change of a batch of images.
    """

    epochs: int = 8
    batch_size: int = 128
    learning_rate: float = 3e-3
    weight_decay: float = 5e-4
    label_smoothing: float = 0.05
    seed: int = 0
    augment: Callable[[Tensor, torch.Generator], Tensor] = flipped_and_shifted


def n_steps(n_images: int, settings: SupervisedTraining) -> int:
    """Return the number of optimiser steps of the whole training."""
    return settings.epochs * -(-n_images // settings.batch_size)


def train_supervised(
    build: Callable[[], Network],
    images: Tensor,
    labels: Tensor,
    settings: SupervisedTraining,
    on_step: Callable[[int, Tensor], None],
    environment: Environment | None = None,
    name: str = "supervised",
) -> Network:
    """Train a network to predict labels; return it in eval mode.

    With a time limit, the learning rate goes through its whole cycle in that time, and the training ends early.

    Args:
        build: makes the network; it is called once the seed is set.
        images: uint8 ``[n, C, H, W]``.
        labels: integers ``[n]``, one per image, or ``[n, H, W]``, one per pixel.
        settings: settings of the training.
        on_step: receives the step (from 1) and the loss.
        environment: device, arithmetic, time limit, and where checkpoints lie; None: this CPU without checkpoints.
        name: name of the checkpoint.
    """
    environment = environment or Environment()
    torch.manual_seed(settings.seed)
    random = torch.Generator(environment.device).manual_seed(settings.seed)
    network = build()
    on_device(network, environment)
    images, labels = images.to(environment.device), labels.to(environment.device)
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=settings.weight_decay)
    total = n_steps(len(images), settings)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, settings.learning_rate, total_steps=total)
    batches = ShuffledBatches(len(images), settings.batch_size, random, keep_rest=True)
    session = Session(name, environment)
    parts: dict[str, Any] = {"network": network, "optimizer": optimizer, "schedule": schedule}
    step = _resume(session, parts, batches)

    def state() -> dict[str, Any]:
        return {**{key: part.state_dict() for key, part in parts.items()}, "batches": batches.state(), "step": step}

    while step < total and session.share_of_time() < 1:
        rows = next(batches)
        batch = settings.augment(as_floats(images[rows]), random).contiguous(memory_format=torch.channels_last)
        with environment.autocast():
            logits = network(batch)
        smoothing = settings.label_smoothing
        loss = functional.cross_entropy(logits.float(), labels[rows].long(), label_smoothing=smoothing)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        # At least one step of the schedule; more where time runs faster than planned.
        due = max(step + 1, min(total, int(session.share_of_time() * total)))
        while step < due:
            schedule.step()
            step += 1
        on_step(step, loss.detach())
        session.save(state)
    session.save(state, now=True)
    return network.eval()


def _resume(session: Session, parts: dict[str, Any], batches: ShuffledBatches) -> int:
    """Load the last checkpoint, if there is one; return the steps taken."""
    saved = session.saved()
    if saved is None:
        return 0
    for key, part in parts.items():
        part.load_state_dict(saved[key])
    batches.load(saved["batches"])
    return int(saved["step"])


@torch.inference_mode()
def predictions(network: nn.Module, images: Tensor, size: int = 500) -> Tensor:
    """Return the most likely label of each image ``[n]``, or of each pixel ``[n, H, W]``, on the CPU.

    Args:
        network: computes logits with labels in dimension 1.
        images: uint8 or float32 in [-1, 1], ``[n, C, H, W]``, on any device.
        size: images per batch.
    """
    device = next(network.parameters()).device
    batches = (batch.to(device) for batch in images.split(size))
    floats = (as_floats(batch) if batch.dtype == torch.uint8 else batch for batch in batches)
    return torch.cat([network(batch).argmax(dim=1).cpu() for batch in floats])


def accuracy(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Return the share of images, or of pixels, that the network labels correctly."""
    return float((predictions(network, images) == labels).double().mean())
