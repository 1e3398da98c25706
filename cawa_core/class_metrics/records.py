"""The class metrics, one record each: everything that tables, reports and comparisons know of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from cawa_core.class_metrics.class_pair import ClassPair

DEPENDENT = 2.0
"""Design effect of recall and coverage. Both audits use the same real images, and one generated image decides about all
real images in its neighbourhood, so that these shares do not vary as a binomial share does: in simulations with normal
features of 2 to 64 dimensions and k = 3, by factors of 0.6 to 1.8. Precision and accuracy average over independent
generated images: 1."""


@dataclasses.dataclass(frozen=True)
class ClassMetric:
    """A metric of a class's generated images.

    Attributes:
        name: column of ``class_metrics`` and ``class_metric_floor``.
        heading: heading of that column in reports.
        meaning: what it is, its range or unit.
        compute: function from the real and the generated images of a class; NaN if it is undefined.
        better: whether a higher or a lower value is better.
        scale: scale on which differences are tested. ``share``: arcsine of the square root, whose standard error is
            1 / sqrt(4 n + 2) whatever the share; ``root``: signed square root, since the noise of counts grows about
            as the root of their size; ``relative``: divided by the size of the class's values, since the noise of
            distances grows about as their size; ``plain``: unchanged.
        threshold: smallest worsening that counts as a regression.
        is_relative: whether the threshold is relative to the base's value.
        draws: which images the metric averages over: all ``generated`` ones, ``matched`` ones (at most as many as
            there are real images), those of the ``kernel`` distance, or the ``compared`` ones of MS-SSIM.
        design_effect: for a share, ratio of its variance to that of independent draws; 0 for other metrics.
        expected_sign: sign of the correlation with total awareness that the paper expects (sec. 5.4: better, less
            diverse; that of FID is ours); 0 if it expects none.
        fault: what a bad value means, in plain words.
    """

    name: str
    heading: str
    meaning: str
    compute: Callable[[ClassPair], float]
    better: Literal["higher", "lower"]
    scale: Literal["share", "root", "relative", "plain"]
    threshold: float
    is_relative: bool = False
    draws: Literal["generated", "matched", "kernel", "compared"] = "generated"
    design_effect: float = 0.0
    expected_sign: Literal[-1, 0, 1] = 0
    fault: str = ""

    @property
    def worse_sign(self) -> int:
        """+1 if a rise is worse, -1 if a drop is."""
        return 1 if self.better == "lower" else -1

    @property
    def threshold_option(self) -> str:
        """Name of the option of ``cawa compare`` that changes the threshold."""
        return f"{self.name}_{'rise' if self.better == 'lower' else 'drop'}"


METRICS = (
    ClassMetric(
        "precision",
        "precision",
        "share of generated images inside the manifold of the real images, in [0, 1]",
        lambda pair: pair.manifold.precision,
        fault="images unlike the real ones",
        better="higher",
        scale="share",
        threshold=0.05,
        draws="matched",
        design_effect=1.0,
        expected_sign=1,
    ),
    ClassMetric(
        "recall",
        "recall",
        "share of real images inside the manifold of the generated images, in [0, 1]",
        lambda pair: pair.manifold.recall,
        fault="much of the real variety is missing",
        better="higher",
        scale="share",
        threshold=0.05,
        draws="matched",
        design_effect=DEPENDENT,
        expected_sign=-1,
    ),
    ClassMetric(
        "density",
        "density",
        "mean number of real images' k-nearest-neighbour balls that contain a generated image, divided by k; >= 0",
        lambda pair: pair.manifold.density,
        fault="few real images nearby",
        better="higher",
        scale="root",
        threshold=0.1,
        is_relative=True,
        draws="matched",
    ),
    ClassMetric(
        "coverage",
        "coverage",
        "share of real images whose k-nearest-neighbour ball contains a generated image, in [0, 1]",
        lambda pair: pair.manifold.coverage,
        fault="many real images have no counterpart",
        better="higher",
        scale="share",
        threshold=0.05,
        draws="matched",
        design_effect=DEPENDENT,
    ),
    ClassMetric(
        "fid",
        "FID",
        "Fréchet distance between the features; >= 0, biased upwards for few samples",
        lambda pair: pair.frechet_distance,
        fault="far from the real images",
        better="lower",
        scale="relative",
        threshold=0.1,
        is_relative=True,
        expected_sign=-1,
    ),
    ClassMetric(
        "kid",
        "KID",
        "unbiased squared maximum mean discrepancy, cubic kernel, on at most 10,000 samples per side",
        lambda pair: pair.kernel_distance,
        fault="far from the real images",
        better="lower",
        scale="relative",
        threshold=0.2,
        is_relative=True,
        draws="kernel",
    ),
    ClassMetric(
        "ms_ssim",
        "MS-SSIM",
        "mean multi-scale structural similarity over pairs of generated images; high: little diversity",
        lambda pair: pair.similarity.mean,
        fault="images nearly alike",
        better="lower",
        scale="plain",
        threshold=0.05,
        draws="compared",
        expected_sign=1,
    ),
    ClassMetric(
        "classifier_accuracy",
        "accuracy",
        "share of generated images that the evaluator assigns to their class, in [0, 1]",
        lambda pair: pair.fake.classifier_accuracy,
        fault="not recognised as its class",
        better="higher",
        scale="share",
        threshold=0.05,
        design_effect=1.0,
    ),
)
"""All class metrics, in the order of their columns."""
