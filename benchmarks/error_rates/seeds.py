"""Two seeds of one checkpoint, and a checkpoint with damaged classes, compared on simulated features.

The metrics are computed by the code of an audit, from normal features whose scale, shape and distance from the real
ones differ between classes. MS-SSIM and accuracy, which need images and a classifier, are drawn.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from cawa_core.class_metrics.frechet import frechet_distance
from cawa_core.class_metrics.kernel import kernel_distance
from cawa_core.class_metrics.manifold import manifold_metrics
from cawa_core.class_metrics.records import METRICS
from workflows.analyses.class_metrics.metric_changes import COMPARED_IMAGES, metric_changes
from workflows.compare.options import comparison_spec

LEVEL = 0.1
"""False discovery rate of the comparisons."""
PAIRS = 20
DIMENSIONS = 32
NEIGHBOURS = 3
SETTINGS = ((10, 24, 50), (10, 100, 500), (100, 24, 50), (100, 100, 500), (200, 24, 24))
"""Classes, generated images and real images per class."""

Tables = tuple[pd.DataFrame, pd.DataFrame]


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """True distributions of the features of all classes, and their real features.

    Attributes:
        real: real features per class ``[n_real, d]``.
        spread, shift: standard deviation and mean of the generated features, per class ``[d]``.
        accuracy, similarity: true accuracy and MS-SSIM ``[n_classes]``.
    """

    real: Sequence[Tensor]
    spread: Sequence[Tensor]
    shift: Sequence[Tensor]
    accuracy: NDArray[np.float64]
    similarity: NDArray[np.float64]

    def with_damage(self, n_damaged: int) -> Checkpoint:
        """Return a checkpoint whose first classes are far from their real images, and varied little."""
        spread = [row * (0.3 if place < n_damaged else 1.0) for place, row in enumerate(self.spread)]
        shift = [
            row + (3 * width if place < n_damaged else 0 * width)
            for place, (row, width) in enumerate(zip(self.shift, self.spread, strict=True))
        ]
        damaged = np.arange(len(self.real)) < n_damaged
        return dataclasses.replace(
            self,
            spread=spread,
            shift=shift,
            accuracy=np.where(damaged, 0.05, self.accuracy),
            similarity=np.where(damaged, 0.9, self.similarity),
        )


def checkpoint(n_classes: int, n_real: int, random: np.random.Generator) -> Checkpoint:
    """Draw a checkpoint whose classes differ in the scale of their features and in how good they are."""
    real: list[Tensor] = []
    spread: list[Tensor] = []
    shift: list[Tensor] = []
    for _ in range(n_classes):
        width = _tensor(random.lognormal(0, 0.5, DIMENSIONS) * random.lognormal(0, 0.3))
        real.append(_tensor(random.standard_normal((n_real, DIMENSIONS))) * width)
        spread.append(width * random.uniform(0.5, 1.2))
        shift.append(width * _tensor(random.normal(0, 0.3, DIMENSIONS)) * random.uniform(0, 3))
    return Checkpoint(real, spread, shift, random.beta(8, 2, n_classes), random.uniform(0.1, 0.5, n_classes))


def _tensor(values: NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(values).float()


def audited(of: Checkpoint, n_fake: int, random: np.random.Generator) -> Tables:
    """Return the tables ``class_metrics`` and ``class_metric_floor`` of one audit with its own latents."""
    rows = []
    floors = []
    for class_id, real in enumerate(of.real):
        fake = _tensor(random.standard_normal((n_fake, DIMENSIONS))) * of.spread[class_id] + of.shift[class_id]
        half = min(len(real), n_fake) // 2
        first, second = real[:half], real[half : 2 * half]
        constant = {"class_id": class_id, "class_name": f"class {class_id}"}
        drawn = {
            "classifier_accuracy": random.binomial(n_fake, of.accuracy[class_id]) / n_fake,
            "ms_ssim": of.similarity[class_id] + random.normal(0, 0.3 * of.similarity[class_id] / np.sqrt(n_fake)),
        }
        counts = {"n_real": len(real), "n_fake": n_fake, COMPARED_IMAGES: n_fake}
        rows.append(constant | drawn | counts | _metrics(real, fake))
        of_halves = constant | drawn | {"n_real": half, "n_fake": half}
        floors.append(of_halves | {"comparison": "fake_real"} | _metrics(second, fake[:half]))
        floors.append(of_halves | {"comparison": "real_real"} | _metrics(second, first))
    return pd.DataFrame(rows), pd.DataFrame(floors)


def _metrics(real: Tensor, fake: Tensor) -> dict[str, float]:
    n = min(len(real), len(fake))
    manifold = manifold_metrics(real=real[:n], fake=fake[:n], neighbours=NEIGHBOURS)
    distances = {"fid": frechet_distance(real=real, fake=fake), "kid": kernel_distance(real=real, fake=fake)}
    return dataclasses.asdict(manifold) | distances


def changes(base: Tables, new: Tables, level: float) -> Tables:
    """Compare two audits with the default thresholds; see :func:`metric_changes`."""
    spec = comparison_spec(false_discovery_rate=level)
    thresholds = {metric.name: getattr(spec, metric.threshold_option) for metric in METRICS}
    return metric_changes(base[0], new[0], base[1], new[1], thresholds, spec.false_discovery_rate)


def named(classes: pd.DataFrame) -> set[int]:
    """Return the classes that a comparison calls worse or better."""
    return set(classes[classes.verdict.isin(["worse", "better"])].class_id)


def seed_table() -> str:
    """Simulate pairs of audits and return the table of how often they are called different."""
    lines = [
        "| classes | generated images | real images | pairs of seeds called different | damaged classes found | "
        "other classes named |",
        "|---|---|---|---|---|---|",
    ]
    for n_classes, n_fake, n_real in SETTINGS:
        alarms = 0
        n_found = 0
        falsely = 0
        n_damaged = max(1, n_classes // 40)
        for pair in range(PAIRS):
            random = np.random.default_rng((n_classes, n_fake, pair))
            truth = checkpoint(n_classes, n_real, random)
            base = audited(truth, n_fake, random)
            classes, totals = changes(base, audited(truth, n_fake, random), LEVEL)
            alarms += bool(named(classes)) or bool({*totals.verdict} & {"worse", "better"})
            damaged = named(changes(base, audited(truth.with_damage(n_damaged), n_fake, random), LEVEL)[0])
            n_found += len(damaged & set(range(n_damaged)))
            falsely += len(damaged - set(range(n_damaged)))
        share_found = f"{n_found} of {n_damaged * PAIRS}"
        lines.append(f"| {n_classes} | {n_fake} | {n_real} | {alarms} of {PAIRS} | {share_found} | {falsely} |")
    return "\n".join(lines) + "\n"
