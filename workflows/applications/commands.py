"""The commands ``cawa mask``, ``edit``, ``hybridise`` and ``segment``: parse flags and write a sheet."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from workflows.applications.endings import written_at_the_end
from workflows.applications.options import (
    MODEL_OPTIONS,
    REALISM_OPTIONS,
    UNSCORED_OPTIONS,
    EditSpec,
    HybridSpec,
    MaskSpec,
    SegmentSpec,
    merged_application,
)
from workflows.command_options import with_options_of
from workflows.config import RunOptions
from workflows.quick_imports import quick_imports
from workflows.spec import AuditSpec

SpecFile = Annotated[Path | None, typer.Option(help="TOML file with options for models and devices.")]
Classes = Annotated[str, typer.Argument(help="Classes by index, name or WordNet id, comma-separated.")]


@with_options_of(MaskSpec, AuditSpec, RunOptions, only=MODEL_OPTIONS)
@written_at_the_end()
def mask(
    flags: dict[str, Any],
    spec: SpecFile = None,
) -> None:
    """Zero the channels of lowest, random and highest awareness, or given channels; show pictures and score changes."""
    with quick_imports():
        from workflows.applications.mask import run_mask

    print(f"sheet: {run_mask(*merged_application(MaskSpec, spec, flags)).path('mask.png')}")


@with_options_of(EditSpec, AuditSpec, RunOptions, only=MODEL_OPTIONS)
@written_at_the_end()
def edit(
    flags: dict[str, Any],
    spec: SpecFile = None,
) -> None:
    """Edit channels at one site over a range of strengths and show the pictures, or suggest the best edits."""
    with quick_imports():
        from workflows.applications.edit import run_edit, suggestion_lines

    result = run_edit(*merged_application(EditSpec, spec, flags))
    print("\n".join([*suggestion_lines(result.suggestions), f"sheet: {result.storage.path('edit.png')}"]))


@with_options_of(HybridSpec, AuditSpec, RunOptions, only=REALISM_OPTIONS)
@written_at_the_end()
def hybridise(
    inputs: Classes,
    references: Classes,
    flags: dict[str, Any],
    spec: SpecFile = None,
) -> None:
    """Mix each input class with each reference class; compare channel mixing, style mixing and both originals."""
    with quick_imports():
        from workflows.applications.hybridise import run_hybridise

    first, second = ([word.strip() for word in words.split(",")] for words in (inputs, references))
    result = run_hybridise(first, second, *merged_application(HybridSpec, spec, flags))
    print("\n".join([*result.lines, f"sheet: {result.storage.path('hybrid.png')}"]))


@with_options_of(SegmentSpec, AuditSpec, RunOptions, only=UNSCORED_OPTIONS)
@written_at_the_end()
def segment(
    flags: dict[str, Any],
    spec: SpecFile = None,
) -> None:
    """Cluster the pixels of generated pictures by their channel activations, with and without awareness."""
    with quick_imports():
        from workflows.applications.segment import run_segment

    print(f"sheet: {run_segment(*merged_application(SegmentSpec, spec, flags)).path('segments.png')}")
