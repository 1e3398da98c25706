"""Train the bundled classifier from scratch: cross-entropy, one-cycle learning rate, small shifts and flips."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from cawa_core.evaluators.fashion import FashionClassifier


@dataclasses.dataclass(frozen=True)
class ClassifierTraining:
    """Settings of the training."""

    epochs: int = 8
    batch_size: int = 128
    learning_rate: float = 3e-3
    weight_decay: float = 5e-4
    label_smoothing: float = 0.05
    largest_shift: int = 2
    seed: int = 0


def augmented(images: Tensor, largest_shift: int, random: torch.Generator) -> Tensor:
    """Flip each image with probability one half, and shift the whole batch by the same few pixels."""
    flip = torch.rand(len(images), generator=random) < 0.5
    images = torch.where(flip[:, None, None, None], images.flip(3), images)
    dy, dx = torch.randint(-largest_shift, largest_shift + 1, (2,), generator=random).tolist()
    padded = functional.pad(images, [largest_shift] * 4, value=-1.0)
    rows = slice(largest_shift + dy, largest_shift + dy + images.shape[2])
    columns = slice(largest_shift + dx, largest_shift + dx + images.shape[3])
    return padded[:, :, rows, columns]


def train_classifier(
    images: Tensor, labels: Tensor, settings: ClassifierTraining, on_step: Callable[[int, float], None]
) -> FashionClassifier:
    """Train on images ``[n, 1, 28, 28]`` in [-1, 1]; ``on_step`` receives the step (from 1) and the loss."""
    torch.manual_seed(settings.seed)
    random = torch.Generator().manual_seed(settings.seed)
    network = FashionClassifier().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=settings.weight_decay)
    total = n_steps(len(images), settings)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, settings.learning_rate, total_steps=total)
    step = 0
    for _ in range(settings.epochs):
        for rows in torch.randperm(len(images), generator=random).split(settings.batch_size):
            batch = augmented(images[rows], settings.largest_shift, random).contiguous(
                memory_format=torch.channels_last
            )
            with torch.autocast(batch.device.type, torch.bfloat16):
                logits = network(batch)
            loss = functional.cross_entropy(logits.float(), labels[rows], label_smoothing=settings.label_smoothing)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            step += 1
            on_step(step, float(loss.detach()))
    return network.eval()


def n_steps(n_images: int, settings: ClassifierTraining) -> int:
    """Return the number of optimiser steps of the whole training."""
    return settings.epochs * -(-n_images // settings.batch_size)


@torch.inference_mode()
def accuracy(network: FashionClassifier, images: Tensor, labels: Tensor) -> float:
    """Return the share of images ``[n, 1, 28, 28]`` that the network classifies as their label."""
    hits = [
        (network(batch).argmax(dim=1) == target).sum()
        for batch, target in zip(images.split(500), labels.split(500), strict=True)
    ]
    return float(torch.stack(hits).sum() / len(labels))
