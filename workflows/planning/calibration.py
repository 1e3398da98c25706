"""Timing of each analysis on this device, from a few passes."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Mapping

import torch

from cawa_core.generators.base import class_ids_of
from workflows.interface import Pace
from workflows.lab import Lab
from workflows.running.job import Job


@dataclasses.dataclass(frozen=True)
class Paces:
    """Measured seconds of an audit.

    Attributes:
        image: seconds to generate one image and pass it through every network.
        by_analysis: seconds by analysis and kind of work; None if passes are counted instead.
    """

    image: float
    by_analysis: Mapping[str, Pace | None]


def paces(job: Job) -> Paces:
    """Measure the pace of each analysis, each kind of work after a warm-up; None if that would take too long.

    The audit must have an evaluator.
    """
    lab = job.lab
    stopwatch = functools.partial(seconds_of, lab.generator.device)
    by_analysis: dict[str, Pace | None] = {}
    with lab.arithmetic():
        image = image_seconds(lab)
        for analysis in job.analyses:
            pace = job.work(analysis.name).pace(lab, job.spec, image, stopwatch)
            by_analysis[analysis.name] = None if pace is None else {"image": image, **pace}
    return Paces(image, by_analysis)


def image_seconds(lab: Lab) -> float:
    """Measure the seconds to generate one image and pass it through every network."""
    z = lab.latents(lab.class_ids[0], lab.batch_size)

    def generate_and_evaluate() -> None:
        with torch.inference_mode():
            images = lab.generator(z, class_ids_of(lab.class_ids[0], z))
            for network in set(lab.networks.values()):
                network.features(images)

    return seconds_of(lab.generator.device, generate_and_evaluate, True) / len(z)


def seconds_of(device: torch.device, work: Callable[[], object], warm: bool) -> float:
    """Time a call, after a warm-up call if wanted; on a CUDA device, wait for both to end."""
    if warm:
        work()
    _synchronize(device)
    start = time.perf_counter()
    work()
    _synchronize(device)
    return time.perf_counter() - start


def _synchronize(device: torch.device) -> None:
    """Wait until a CUDA device has finished its queue; do nothing on a CPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
