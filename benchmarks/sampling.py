"""Measure what the regression estimator and adaptive sampling save, and both together against the naive loop."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from benchmarks.exact_masks import CLASSES, LATENTS, SCREENED, class_masks
from benchmarks.masking import BATCH, bundled
from benchmarks.naive_masking import fashion_loop
from benchmarks.results import Result, seconds_of
from cawa_core.masking.effects import changes
from cawa_core.masking.engine import MaskingEngine
from cawa_core.masking.estimation import MaskingEstimates, SamplingPlan, Scores, estimated_effects
from cawa_core.masking.sampling import regression_mean
from cawa_core.masking.screening import screened
from cawa_core.numerics.batch_size import BatchSize

EXACT = 32
"""Latents with exact masks for the regression estimator."""
FIXED = 1000
"""Latents per channel in the paper."""
CAP = 1400
"""Maximum latents per channel, enough for the worst channel to reach the target."""
BEGINNING = 8
"""Latents of the first round, and of the float32 masks that accompany bfloat16."""
NAIVE_MASKS = 2
"""Masks per site that the naive loop is timed on."""


def run() -> Iterator[Result]:
    """Measure the passes saved at equal error, then the wall time of one class at the error of the worst channel."""
    yield regression()
    yield adaptive()
    yield adaptive_class("regression", None)
    yield adaptive_class("two_precisions", 50)


def regression() -> Result:
    """Count the exact passes with which a plain mean reaches the standard error of the regression estimator."""
    gains: dict[str, list[float]] = {"score_change": [], "score_change_abs": []}
    for class_id in CLASSES:
        masks = class_masks(class_id)
        for name, gains_of_effect in gains.items():
            for exact, cheap in zip(masks.exact, masks.by_gradient, strict=True):
                stderr = regression_mean(exact[name][:, :EXACT], cheap[name]).stderr
                passes = exact[name].var(axis=1, ddof=1) / stderr**2
                gains_of_effect.append(float(np.median(passes)) / EXACT)
    by_site = np.reshape(gains["score_change"], (len(CLASSES), -1)).mean(axis=0)
    return Result(
        f"regression estimator, {EXACT} exact and {SCREENED} screened latents, median channel of each class and site",
        "plain means of exact masks at equal standard error",
        tuple(gains["score_change"]),
        at_least=2.5,
        unit="exact passes",
        facts={
            "of score_change_abs": statistics.median(gains["score_change_abs"]),
            **{f"site {site}": float(gain) for site, gain in enumerate(by_site)},
        },
    )


def adaptive() -> Result:
    """Count the passes saved if each channel only gets the latents that it needs for the error of the worst channel."""
    ratios = []
    for class_id in CLASSES:
        deviations = np.concatenate(
            [exact["score_change"].std(axis=1, ddof=1) for exact in class_masks(class_id).exact]
        )
        needed = np.maximum(FIXED * (deviations / deviations.max()) ** 2, 1)
        ratios.append(float(FIXED / needed.mean()))
    return Result(
        "the worst channel's error for every channel, were all variances known",
        f"a fixed {FIXED} latents",
        tuple(ratios),
        unit="exact passes",
    )


def adaptive_class(estimator: str, at_least: float | None) -> Result:
    """Measure all channels of one class: an estimator with a target error against the loop on 1,000 latents."""
    generator, evaluator = bundled()
    loop = fashion_loop(generator)
    engine = MaskingEngine(generator, evaluator, BatchSize(BATCH))
    fast: list[float] = []
    slow: list[float] = []
    facts: dict[str, float] = {}
    for class_id in CLASSES[:3]:
        deviations = [exact["score_change"].std(axis=1, ddof=1).max() for exact in class_masks(class_id).exact]
        target = float(max(deviations)) / math.sqrt(FIXED)
        z = generator.sample_latents(0, class_id, range(CAP))
        plan = SamplingPlan(estimator, CAP, BEGINNING, target)
        start = time.perf_counter()
        estimates = adaptive_estimates(engine, z, class_id, plan)
        fast.append(time.perf_counter() - start)
        sample = z[:LATENTS]

        def naive(z: Tensor = sample, class_id: int = class_id) -> None:
            for site in generator.sites:
                for channel in range(NAIVE_MASKS):
                    loop.log_scores(z, class_id, site.index, (channel,))

        per_pass = seconds_of(naive) / (NAIVE_MASKS * len(generator.sites) * LATENTS)
        slow.append(per_pass * FIXED * sum(site.channels for site in generator.sites))
        stderr = np.concatenate([site.columns["score_change_stderr"] for site in estimates])
        latents = np.concatenate([site.n_samples for site in estimates])
        facts |= {
            f"class {class_id}: ratio": slow[-1] / fast[-1],
            f"class {class_id}: target": target,
            f"class {class_id}: largest standard error": float(stderr.max()),
            f"class {class_id}: mean latents a channel": float(latents.mean()),
        }
    return Result(
        f"every channel at the worst channel's error by {estimator}, all sites, one class",
        f"a hook and a whole pass a mask on {FIXED} latents, extrapolated",
        tuple(np.divide(slow, fast).tolist()),
        at_least=at_least,
        seconds=statistics.median(fast),
        counterpart_seconds=statistics.median(slow),
        facts=facts,
    )


def adaptive_estimates(engine: MaskingEngine, z: Tensor, class_id: int, plan: SamplingPlan) -> list[MaskingEstimates]:
    """Screen all latents, then mask site by site until every channel reaches the target error."""
    has_two_precisions = plan.estimator == "two_precisions"
    estimates: list[MaskingEstimates] = []
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=has_two_precisions):
        screening = screened(engine.generator, engine.evaluator, z, class_id, engine.batch.images)
    for site in engine.generator.sites:
        masks = [(channel,) for channel in range(site.channels)]
        cheap = changes(screening.unmasked.numpy(), screening.log_scores(site.index, masks).numpy())

        def exact(latents: range, selected: np.ndarray, site: int = site.index, masks: list = masks) -> tuple:
            chunk = z[latents.start : latents.stop]
            return engine.site_log_scores(chunk, class_id, site, [masks[index] for index in selected])

        def in_bfloat16(latents: range, selected: np.ndarray, exact: Scores = exact) -> tuple:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                return exact(latents, selected)

        estimates.append(estimated_effects(exact, cheap, plan, in_bfloat16 if has_two_precisions else None))
    return estimates
