"""Does the device give the CPU's numbers?

The reference is float32 on the CPU. float32 on the device may differ by rounding only. Lower precisions may be as far
from the reference as bfloat16 on the CPU is, twice over: they round elsewhere, not more.
"""

from __future__ import annotations

import dataclasses
import functools
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from numpy.typing import NDArray

from benchmarks.gpu.device import PeakMemory, memory_for
from benchmarks.gpu.results import Check, Findings
from benchmarks.gpu.session import BUNDLED, CLASS_ID, DEEP_128, Session, spread
from cawa_core.evaluators.base import Evaluator
from cawa_core.generators.base import Generator, class_ids_of
from cawa_core.masking.engine import MaskingEngine
from cawa_core.masking.screening import screened
from cawa_core.numerics.arithmetic import arithmetic, use_exact_kernels
from cawa_core.numerics.batch_size import BatchSize
from cawa_core.storage import open_storage
from cawa_core.tables import Manifest
from workflows.options.audit import audit_spec
from workflows.options.run import RunOptions
from workflows.planning.plan import plan
from workflows.running.execution import within_memory
from workflows.running.job import Job

Array = NDArray[np.float64]

FLOAT32_FEATURES = 1e-4
"""Largest difference of a feature over the largest feature of its site: some fifty layers of float32 rounding."""
FLOAT32_IMAGES = 1e-3
FLOAT32_LOG_SCORES = 1e-3
MASKS_MOVE = 10.0
"""Masks must change log-scores by this much more than float32 may be off, or comparing scores shows nothing."""
LOWER_OVER_BFLOAT16 = 2.0
"""Error of a lower precision on the device over that of bfloat16 on the CPU."""
PROBABILITY = 1e-4
"""Largest difference of a mean probability of the bundled audit in float32."""
LOWER_PROBABILITY = 0.01
"""The same below float32: the bound that docs/methods.md states for bfloat16."""
ROUNDING = 1e-5
"""Relative: what batch, stack and shard may change in float32 (DESIGN, numbers)."""
REPEATED_SCREENING = 1e-5
"""Relative to the largest rate: on CUDA, the gradient of a resize is added up in no fixed order."""


@dataclasses.dataclass(frozen=True)
class Outputs:
    """Outputs of a generator and its classifier for a few latents of one class.

    Attributes:
        features: after the ReLU of each site.
        images: ``[n, C, H, W]``.
        log_scores: of some sites, unmasked in the first row and then under each mask.
    """

    features: list[Array]
    images: Array
    log_scores: list[Array]


def class_of(name: str) -> int:
    """The class whose images are looked at."""
    return 1 if name == BUNDLED else CLASS_ID


def outputs_of(session: Session, name: str, device: torch.device, precision: str) -> Outputs:
    """Compute on a device in a precision."""
    generator, evaluator = session.models(name, device)
    class_id = class_of(name)
    engine = MaskingEngine(generator, evaluator, BatchSize(4 * session.sizes.latents))
    z = generator.sample_latents(0, class_id, range(session.sizes.latents))
    masks = [(channel,) for channel in range(session.sizes.masks)]
    with torch.inference_mode(), arithmetic(precision, device):
        state = generator.run_to(0, z, class_ids_of(class_id, z))
        features = [_array(state.features)]
        while state.site < len(generator.sites) - 1:
            state = generator.next_site(state)
            features.append(_array(state.features))
        images = _array(generator.finish(state))
        scores = [engine.site_log_scores(z, class_id, site, masks) for site in spread(3, len(generator.sites))]
    return Outputs(features, images, [np.concatenate([unmasked[None], masked]) for unmasked, masked in scores])


def _array(tensor: torch.Tensor) -> Array:
    return tensor.detach().cpu().double().numpy()


def differences(outputs: Outputs, reference: Outputs) -> dict[str, float]:
    """Largest differences: of features relative to the largest of their site, of images and log-scores as they are."""
    return {
        "features": max(
            _largest(a, b) / np.abs(b).max() for a, b in zip(outputs.features, reference.features, strict=True)
        ),
        "images": _largest(outputs.images, reference.images),
        "log scores": max(_largest(a, b) for a, b in zip(outputs.log_scores, reference.log_scores, strict=True)),
    }


def _largest(values: Array, expected: Array) -> float:
    return float(np.abs(values - expected).max())


def model_conformance(session: Session, name: str) -> Findings:
    """Images, features of every site and masked log-scores of one generator, in every precision."""
    use_exact_kernels()
    cpu = torch.device("cpu")
    reference = outputs_of(session, name, cpu, "float32")
    allowed = differences(outputs_of(session, name, cpu, "bfloat16"), reference)
    exact = {"features": FLOAT32_FEATURES, "images": FLOAT32_IMAGES, "log scores": FLOAT32_LOG_SCORES}
    checks = []
    for precision in session.precisions:
        errors = differences(outputs_of(session, name, session.device, precision), reference)
        bounds = (
            exact if precision == "float32" else {key: LOWER_OVER_BFLOAT16 * value for key, value in allowed.items()}
        )
        checks += [Check(f"{precision}: largest difference of {key}", errors[key], bounds[key]) for key in errors]
    moved = max(_largest(scores[1:], scores[0]) for scores in reference.log_scores)
    checks.append(Check("largest change by a mask, over the bound", moved / FLOAT32_LOG_SCORES, MASKS_MOVE, True))
    figures = {f"bfloat16 on the CPU: largest difference of {key}": value for key, value in allowed.items()}
    return Findings((*checks, *exactness(session, name)), figures)


def exactness(session: Session, name: str) -> list[Check]:
    """An empty mask is bit-identical in every precision; in float32 the batch changes rounding only."""
    generator, evaluator = session.models(name)
    class_id = class_of(name)
    site = len(generator.sites) // 2
    z = generator.sample_latents(0, class_id, range(2 * session.sizes.latents))
    checks: list[Check] = []
    masks = [(0,), (), (1, 2), ()]
    for precision in session.precisions:
        with arithmetic(precision, session.device):
            engine = MaskingEngine(generator, evaluator, BatchSize(4 * session.sizes.latents))
            unmasked, masked = engine.site_log_scores(z, class_id, site, masks)
            whole, empty = engine.everywhere_log_scores(z, class_id, [{}])
        change = max(_largest(masked[[1, 3]], unmasked), _largest(empty, whole))
        checks.append(Check(f"{precision}: largest change by an empty mask", change, 0.0))
    scores = [_scores_in_batches(generator, evaluator, z, class_id, site, masks, batch) for batch in (1, 3, 64)]
    change = max(float((np.abs(other - scores[0]) / np.abs(scores[0])).max()) for other in scores[1:])
    return [*checks, Check("float32: largest relative change of a log score by the batch", change, ROUNDING)]


def _scores_in_batches(
    generator: Generator,
    evaluator: Evaluator,
    z: torch.Tensor,
    class_id: int,
    site: int,
    masks: list[tuple[int, ...]],
    batch: int,
) -> Array:
    engine = MaskingEngine(generator, evaluator, BatchSize(batch))
    return np.concatenate([part.reshape(-1) for part in engine.site_log_scores(z, class_id, site, masks)])


def audit_conformance(session: Session) -> Findings:
    """Tables of the bundled audit: awareness, exact masks and screening of two classes, and their class metrics."""
    reference = _audit_tables(session, "cpu", "float32")
    checks = []
    for precision in session.precisions:
        tables = _audit_tables(session, str(session.device), precision)
        bound = PROBABILITY if precision == "float32" else LOWER_PROBABILITY
        effects = _column_differences(tables["masking"], reference["masking"], ("score_change", "score_change_abs"))
        screening = _column_differences(
            tables["masking"], reference["masking"], ("screened_score_change", "screened_score_change_abs")
        )
        metrics = _column_differences(tables["class_metrics"], reference["class_metrics"], ("ms_ssim", "recall"))
        fid = np.abs(tables["class_metrics"].fid / reference["class_metrics"].fid - 1).max()
        awareness = _relative_difference(tables["awareness"], reference["awareness"])
        checks += [
            Check(f"{precision}: largest difference of a masking effect", effects, bound),
            Check(f"{precision}: largest difference of a screened effect", screening, 2 * bound),
            Check(f"{precision}: largest relative difference of awareness", awareness, ROUNDING),
            Check(f"{precision}: largest relative difference of FID", float(fid), 100 * bound),
            Check(f"{precision}: largest difference of MS-SSIM and recall", metrics, 5 * LOWER_PROBABILITY),
        ]
    return Findings((*checks, *_partition_checks(session)))


def _partition_checks(session: Session) -> list[Check]:
    """Other batches and shards, on the device in float32."""
    device = str(session.device)
    usual = _audit_tables(session, device, "float32")
    checks = []
    for what, changes in {"the batch": {"batch_size": 7}, "the shard": {"classes_per_shard": 1}}.items():
        other = _audit_tables(session, device, "float32", **changes)
        effects = _column_differences(other["masking"], usual["masking"], ("score_change", "log_score_change"))
        checks.append(Check(f"float32: largest change of an effect by {what}", effects, 10 * ROUNDING))
    return checks


def _audit_tables(session: Session, device: str, precision: str, **options: Any) -> dict[str, pd.DataFrame]:  # noqa: ANN401
    """Tables of a small audit of two classes, by its own stages."""
    spec = audit_spec(
        classes=(1, 8),
        stages=("awareness", "masking", "class_metrics"),
        dtype=precision,  # type: ignore[arg-type]
        masking_estimator="exact",
        masking_latents=session.sizes.audit_latents,
        metric_samples=100,
        control_latents=2,
        control_repeats=1,
        awareness_estimators=("closed_form",),
    )
    run = RunOptions(device=device, offline=True, cache=str(session.folder / "cache"), **options)
    job = Job.open(spec, run)
    nothing = Manifest.read(open_storage(session.folder / "no audit"))
    parts: dict[str, list[pd.DataFrame]] = {}
    for shard in plan(job, nothing, run.classes_per_shard or None):
        work = job.work(shard.analysis)
        output = within_memory(job.lab, functools.partial(work.run, job.lab, job.spec, shard, None))
        for table, rows in output.tables.items():
            parts.setdefault(table, []).append(pd.DataFrame({name: _column(values) for name, values in rows.items()}))
    keys = {"masking": ["class_id", "site", "group"], "awareness": ["class_id", "site", "channel"]}
    return {
        name: pd.concat(frames).sort_values(keys.get(name, ["class_id"]), ignore_index=True)
        for name, frames in parts.items()
        if name in (*keys, "class_metrics")
    }


def _column_differences(frame: pd.DataFrame, expected: pd.DataFrame, columns: tuple[str, ...]) -> float:
    return max(_largest(frame[name].to_numpy(float), expected[name].to_numpy(float)) for name in columns)


def _relative_difference(frame: pd.DataFrame, expected: pd.DataFrame) -> float:
    columns = ("category_awareness", "latent_awareness_robust", "activation_probability", "expected_activation")
    pairs = [(frame[name].to_numpy(float), expected[name].to_numpy(float)) for name in columns]
    return max(float((np.abs(a - b) / np.maximum(np.abs(b), 1e-3)).max()) for a, b in pairs)


def _column(values: Any) -> Any:  # noqa: ANN401
    """Values of a row block as pandas takes them, whether a stage gave a list or an Arrow array."""
    return values.to_numpy() if isinstance(values, pa.ChunkedArray) else list(values)


def repeated_screening(session: Session) -> Findings:
    """Screening twice gives the same rates."""
    checks = []
    for name in (BUNDLED, DEEP_128):
        generator, evaluator = session.models(name)
        z = generator.sample_latents(0, class_of(name), range(session.sizes.latents))
        first, second = (screened(generator, evaluator, z, class_of(name), len(z)) for _ in range(2))
        gap = max(float((a - b).abs().max()) for a, b in zip(first.rates, second.rates, strict=True))
        largest = max(float(rates.abs().max()) for rates in first.rates)
        checks.append(Check(f"{name}: largest relative difference of a rate", gap / largest, REPEATED_SCREENING))
    return Findings(tuple(checks))


def memory_cap(session: Session) -> Findings:
    """Running out of memory halves the batch and changes no number beyond rounding."""
    generator, evaluator = session.models(DEEP_128)
    few = 2
    many = 4 * session.sizes.batch
    z = generator.sample_latents(0, CLASS_ID, range(few))
    site = len(generator.sites) // 2
    channels = generator.sites[site].channels
    masks = [(mask % channels,) for mask in range(many)]

    def scores(batch: int) -> tuple[Array, int, float]:
        engine = MaskingEngine(generator, evaluator, BatchSize(batch))
        with PeakMemory(session.device) as memory:
            unmasked, masked = engine.site_log_scores(z, CLASS_ID, site, masks)
        return np.concatenate([unmasked[None], masked]), engine.batch.images, memory.gigabytes

    small, _, least = scores(4 * few)
    whole, _, most = scores(many)
    with memory_for(session.device, evaluator, many // 3, gigabytes=(least + most) / 2):
        capped, images, _ = scores(many)
    change = max(float((np.abs(scores_of_run - small) / np.abs(small)).max()) for scores_of_run in (whole, capped))
    return Findings(
        (
            Check("largest relative change of a log score", change, ROUNDING),
            Check("images per pass under the cap, of a batch before it", images / many, 0.5),
        ),
        {"peak GB of a small batch": least, "peak GB of the large batch": most, "images per pass": images},
    )


def cuda_tests(session: Session) -> Findings:
    """The project's tests that are marked ``cuda``; on a CPU they must all be skipped."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "cuda", "tests/test_cuda.py", "-p", "no:cacheprovider"]
    root = Path(__file__).resolve().parents[2]
    run = subprocess.run(
        command, capture_output=True, encoding="utf-8", cwd=root, check=False, timeout=session.seconds_left
    )
    summary = (run.stdout.strip() or run.stderr.strip()).splitlines()[-1]
    return Findings((Check("exit code", run.returncode, 0.0),), {"summary": summary})
