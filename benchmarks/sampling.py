"""What the regression estimator and adaptive sampling save, and everything together against the naive loop."""

from __future__ import annotations

import math
import statistics
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
FIXED = 1000
"""Latents of the paper."""
CAP = 1400
"""Latents that a channel may get at most: so many that the worst one, too, is sure of its error."""
BEGINNING = 8
"""Latents of the first round, and of float32 beside bfloat16."""
NAIVE_MASKS = 2
"""Masks a site that the naive loop is timed on, with all latents of one batch."""


def run() -> Iterator[Result]:
    """Passes saved at equal error; then wall time for one class at the error of the worst channel."""
    yield regression()
    yield adaptive()
    yield everything("regression", None)
    yield everything("two_precisions", 50)


def regression() -> Result:
    """Exact passes that give the plain mean the standard error of the regression estimator."""
    gains: dict[str, list[float]] = {"score_change": [], "score_change_abs": []}
    for class_id in CLASSES:
        masks = class_masks(class_id)
        for name, found in gains.items():
            for exact, cheap in zip(masks.exact, masks.by_gradient, strict=True):
                stderr = regression_mean(exact[name][:, :EXACT], cheap[name]).stderr
                passes = exact[name].var(axis=1, ddof=1) / stderr**2
                found.append(float(np.median(passes)) / EXACT)
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
    """Passes that give every channel the error of the worst at a fixed number."""
    saved = []
    for class_id in CLASSES:
        deviations = np.concatenate(
            [exact["score_change"].std(axis=1, ddof=1) for exact in class_masks(class_id).exact]
        )
        needed = np.maximum(FIXED * (deviations / deviations.max()) ** 2, 1)
        saved.append(float(FIXED / needed.mean()))
    return Result(
        "the worst channel's error for every channel, were all variances known",
        f"a fixed {FIXED} latents",
        tuple(saved),
        unit="exact passes",
    )


def everything(estimator: str, at_least: float | None) -> Result:
    """One class, all channels of all sites: an estimator with a target against the loop at 1,000 latents."""
    generator, evaluator = bundled()
    loop, engine = fashion_loop(generator), MaskingEngine(generator, evaluator, BatchSize(BATCH))
    fast, slow, facts = [], [], {}
    for class_id in CLASSES[:3]:
        deviations = [exact["score_change"].std(axis=1, ddof=1).max() for exact in class_masks(class_id).exact]
        target = float(max(deviations)) / math.sqrt(FIXED)
        z, estimates = generator.sample_latents(0, class_id, range(CAP)), []
        plan = SamplingPlan(estimator, CAP, BEGINNING, target)
        fast.append(seconds_of(lambda z=z, c=class_id, p=plan, into=estimates: into.extend(adapted(engine, z, c, p))))
        sample = z[:LATENTS]

        def naive(z: Tensor = sample, class_id: int = class_id) -> None:
            for site in generator.sites:
                for channel in range(NAIVE_MASKS):
                    loop.log_scores(z, class_id, site.index, (channel,))

        per_pass = seconds_of(naive) / (NAIVE_MASKS * len(generator.sites) * LATENTS)
        slow.append(per_pass * FIXED * sum(site.channels for site in generator.sites))
        stderr = np.concatenate([one.columns["score_change_stderr"] for one in estimates])
        latents = np.concatenate([one.n_samples for one in estimates])
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


def adapted(engine: MaskingEngine, z: Tensor, class_id: int, plan: SamplingPlan) -> list[MaskingEstimates]:
    """Screen all latents, then mask until every channel has the target, site by site."""
    two, found = plan.estimator == "two_precisions", []
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=two):
        screening = screened(engine.generator, engine.evaluator, z, class_id, engine.batch.images)
    for site in engine.generator.sites:
        masks = [(channel,) for channel in range(site.channels)]
        cheap = changes(screening.unmasked.numpy(), screening.log_scores(site.index, masks).numpy())

        def exact(latents: range, some: np.ndarray, site: int = site.index, masks: list = masks) -> tuple:
            return engine.site_log_scores(z[latents.start : latents.stop], class_id, site, [masks[one] for one in some])

        def low(latents: range, some: np.ndarray, exact: Scores = exact) -> tuple:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                return exact(latents, some)

        found.append(estimated_effects(exact, cheap, plan, low if two else None))
    return found
