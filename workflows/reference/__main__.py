"""Train the bundled models from fixed seeds, and write their weights and digests to the package."""

from __future__ import annotations

import math
import os
import sys
import time
from pathlib import Path
from typing import Annotated

import torch
import typer

from cawa_core import assets
from cawa_core.digests import digest_of_file
from cawa_core.errors import InputError, suggestion
from cawa_core.storage import write_atomically
from workflows.reference.environment import Environment
from workflows.reference.recipes import RECIPES, Plan


def write_digests(folder: Path) -> None:
    """Record the SHA-256 of every bundled data file in ``SHA256SUMS``."""
    files = sorted(path for pattern in ("*.csv", "*.safetensors", "*/*.gz") for path in folder.glob(pattern))
    lines = [f"{digest_of_file(path)}  {path.relative_to(folder).as_posix()}" for path in files]
    write_atomically(folder / "SHA256SUMS", ("\n".join(lines) + "\n").encode())


def main(
    names: Annotated[
        list[str] | None, typer.Argument(help="Models to train: fashion, scenes; all if none is named.")
    ] = None,
    folder: Annotated[Path, typer.Option(help="Folder to write the weights to.")] = assets.FOLDER,
    report: Annotated[Path, typer.Option(help="Folder to write figures and sheets to.")] = Path("results/training"),
    device: Annotated[str, typer.Option(help="Device to train on: cpu, cuda or cuda:N.")] = "cpu",
    bfloat16: Annotated[bool, typer.Option(help="Train under bfloat16 autocast.")] = True,
    minutes: Annotated[
        float, typer.Option(help="Minutes after which the trainings of each name end with what they have reached.")
    ] = math.inf,
    checkpoint: Annotated[Path | None, typer.Option(help="Folder of checkpoints, to resume a killed training.")] = None,
    checkpoint_seconds: Annotated[float, typer.Option(help="Seconds between checkpoints.")] = 600.0,
    processes: Annotated[int, typer.Option(help="Processes that render pictures.")] = os.cpu_count() or 1,
    pictures: Annotated[
        int | None, typer.Option(help="Pictures of scenes to train on; by default as many as suit the device.")
    ] = None,
    fresh: Annotated[int, typer.Option(help="Pictures of scenes to measure on.")] = 6000,
    generator_iterations: Annotated[int | None, typer.Option(help="Training steps of the generator.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Batch size of the generator's training.")] = None,
    classifier_epochs: Annotated[int | None, typer.Option(help="Training epochs of the classifier.")] = None,
    segmenter_epochs: Annotated[int | None, typer.Option(help="Training epochs of the segmenter.")] = None,
) -> None:
    """Retrain fashion-cnn and fashion-biggan, and scenes-cnn, scenes-segmenter and scenes-biggan, from scratch."""
    names = names or list(RECIPES)
    unknown = [name for name in names if name not in RECIPES]
    if unknown:
        raise InputError(f"names must be of {', '.join(RECIPES)}; got {unknown[0]!r}{suggestion(unknown[0], RECIPES)}")
    if device != "cpu":
        torch.backends.cudnn.benchmark = True
    environment = Environment(torch.device(device), bfloat16, math.inf, checkpoint, checkpoint_seconds)
    for name in names:
        plan = Plan(
            folder=folder,
            report=report,
            environment=environment,
            seconds=60 * minutes,
            start=time.monotonic(),
            processes=processes,
            pictures=pictures,
            fresh=fresh,
            iterations=generator_iterations,
            batch_size=batch_size,
            classifier_epochs=classifier_epochs,
            segmenter_epochs=segmenter_epochs,
        )
        RECIPES[name](plan)
    write_digests(folder)


if __name__ == "__main__":
    app = typer.Typer(add_completion=False)
    app.command()(main)
    try:
        app(standalone_mode=True)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
