"""Exact masking of the bundled generator against a forward hook and a whole pass a mask, interleaved.

Prints, for each site, the ratio of the two times: median and range over the repeats.
Run it on an idle machine: ``python -m benchmarks.masking`` in the project's folder.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

from cawa_core.evaluators.base import EvaluatorRequest
from cawa_core.evaluators.fashion import FashionCNN
from cawa_core.generators.fashion import FashionBigGAN
from cawa_core.generators.request import GeneratorRequest
from cawa_core.masking.engine import log_scores, site_log_scores
from tests.reference.hooked_masking import hooked_images

LATENTS, MASKS, REPEATS = 64, 8, 7


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    """Measure every site."""
    generator = FashionBigGAN.bundled(GeneratorRequest("fashion-biggan"))
    evaluator = FashionCNN.bundled(EvaluatorRequest("fashion-cnn"))
    z, masks = generator.sample_latents(0, 0, range(LATENTS)), [(channel,) for channel in range(MASKS)]
    print(f"{MASKS} masks x {LATENTS} latents, {torch.get_num_threads()} threads, {REPEATS} interleaved repeats")
    for site in generator.sites:

        def hooked(site: int = site.index) -> None:
            for mask in masks:
                log_scores(evaluator, hooked_images(generator, z, 0, site, mask), 0)

        def engine(site: int = site.index) -> None:
            site_log_scores(generator, evaluator, z, 0, site, masks, LATENTS)

        seconds(hooked), seconds(engine)
        ratios = [seconds(hooked) / seconds(engine) for _ in range(REPEATS)]
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        print(f"site {site.index}: {statistics.median(ratios):.2f} times as fast ({spread})")


if __name__ == "__main__":
    main()
