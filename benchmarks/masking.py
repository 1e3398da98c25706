"""Measure exact masking against a hook and a whole pass per mask, on the bundled generator and BigGAN-deep-128."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.naive_masking import NaiveLoop, biggan_deep_loop, fashion_loop
from benchmarks.results import Result, seconds_of
from cawa_core.evaluators.base import Evaluator, EvaluatorRequest
from cawa_core.evaluators.imagenet import load_inception_v3
from cawa_core.evaluators.small_cnn import FashionCNN
from cawa_core.generators.base import Generator
from cawa_core.generators.biggan.deep import load_biggan_deep
from cawa_core.generators.request import GeneratorRequest
from cawa_core.generators.small_biggan.generator import FashionBigGAN
from cawa_core.masking.engine import MaskingEngine
from cawa_core.numerics.arithmetic import arithmetic
from cawa_core.numerics.batch_size import BatchSize
from cawa_core.weights import WeightStore
from tests.biggan_deep_models import random_network, save_folder
from tests.inception_models import random_inception_state

BATCH = 80
"""Images per batch: the default of an audit of the bundled generator on a CPU."""
PRODUCT_SIDE = {"cpu": 1024, "cuda": 8192}
"""Rows of the matrices whose product shows the best rate of a device."""


@dataclasses.dataclass(frozen=True)
class Contest:
    """The engine and the naive loop on the same masks of the same latents.

    Attributes:
        engine, loop: both implementations.
        latents: latents of class 0.
        sites: indices of the masked sites.
        masks: masks per site, of one channel each.
        precision: arithmetic of the engine.
        loop_precision: arithmetic of the loop.
    """

    engine: MaskingEngine
    loop: NaiveLoop
    latents: Tensor
    sites: Sequence[int]
    masks: int
    precision: str = "float32"
    loop_precision: str = "float32"

    @property
    def device(self) -> torch.device:
        """Device of both implementations."""
        return self.latents.device

    def engine_scores(self, site: int) -> np.ndarray:
        """Compute log-probabilities ``[masks, n]`` with the engine."""
        with arithmetic(self.precision, self.device):
            masks = [(channel,) for channel in range(self.masks)]
            return self.engine.site_log_scores(self.latents, 0, site, masks)[1]

    def loop_scores(self, site: int) -> np.ndarray:
        """Compute log-probabilities ``[masks, n]`` with the naive loop."""
        with arithmetic(self.loop_precision, self.device):
            rows = [self.loop.log_scores(self.latents, 0, site, (channel,)) for channel in range(self.masks)]
            return torch.stack(rows).cpu().numpy()

    def result(self, work: str, at_least: float | None, repeats: int) -> Result:
        """Compare both on all channels of the sites, by weighting the time of a mask with the channels of its site."""
        channels = np.array([self.engine.generator.sites[site].channels for site in self.sites])
        error = max(
            np.abs(np.exp(self.engine_scores(site)) - np.exp(self.loop_scores(site))).max() for site in self.sites
        )
        pairs = np.array([[self.seconds(site) for site in self.sites] for _ in range(repeats)])  # [repeats, sites, 2]
        naive, fast = np.moveaxis((pairs * channels[:, None]).sum(axis=1), 1, 0)
        by_site = np.median(pairs[..., 0] / pairs[..., 1], axis=0)
        passes = self.masks * len(self.latents) * len(self.sites)
        rates = {
            "passes a second": float(passes / np.median(pairs[..., 1].sum(axis=1))),
            "of the loop": float(passes / np.median(pairs[..., 0].sum(axis=1))),
            "largest difference of a probability": float(error),
        }
        per_second = float(np.median(pairs[..., 1], axis=0) @ channels)
        operations = np.array([self.operations(site) for site in self.sites])
        masked_operations = np.array([self.operations(site, masked=True) for site in self.sites])
        limits = {
            "operations of the loop over ours": float(operations @ channels / (masked_operations @ channels)),
            "GFLOP/s": float(masked_operations @ channels) * self.masks * len(self.latents) / per_second / 1e9,
            "GFLOP/s of a matrix product": product_rate(self.precision, self.device),
        }
        facts = rates | limits | {f"site {site}": float(ratio) for site, ratio in zip(self.sites, by_site, strict=True)}
        return Result(work, "a hook and a whole pass a mask", tuple((naive / fast).tolist()), at_least, facts=facts)

    def seconds(self, site: int) -> tuple[float, float]:
        """Time all masks of a site with the loop, then with the engine."""
        loop_seconds = seconds_of(lambda: self.loop_scores(site))
        return loop_seconds, seconds_of(lambda: self.engine_scores(site))

    def operations(self, site: int, masked: bool = False) -> int:
        """Count the floating-point operations of a pass of one latent.

        The pass begins at the latent, as in the loop, or, if ``masked``, after a mask of the site: no engine can avoid
        that part.
        """
        generator = self.engine.generator
        evaluator = self.engine.evaluator
        z = self.latents[:1]
        class_ids = torch.zeros(1, dtype=torch.int64, device=self.device)
        state = generator.run_to(site, z, class_ids)
        images = generator.under_masks(state, [(0,)])
        with torch.inference_mode(), FlopCounterMode(display=False) as counter:
            if not masked:
                state = generator.run_to(site, z, class_ids)
            evaluator.log_probabilities(images(slice(1)) if masked else generator.run_from(site, state))
        return int(counter.get_total_flops())


def product_rate(precision: str, device: torch.device) -> float:
    """Measure the GFLOP/s of a product of two large square matrices: about the best rate of this device."""
    side = PRODUCT_SIDE[device.type]
    dtype = torch.float32 if precision == "tf32" else getattr(torch, precision)
    matrix = torch.randn(side, side, device=device).to(dtype)

    def product() -> None:
        with arithmetic(precision, device):
            (matrix @ matrix)[0, 0].item()  # waits for a GPU

    return 2 * side**3 / min(seconds_of(product) for _ in range(20)) / 1e9


def bundled() -> tuple[FashionBigGAN, FashionCNN]:
    """Load the generator and the classifier that ship with the package."""
    generator = FashionBigGAN.bundled(GeneratorRequest("fashion-biggan"))
    return generator, FashionCNN.bundled(EvaluatorRequest("fashion-cnn"))


def run() -> Iterator[Result]:
    """Measure all sites of the bundled generator in float32 and bfloat16, and the last half of BigGAN-deep-128."""
    generator, evaluator = bundled()
    latents = generator.sample_latents(0, 0, range(32))
    engine = MaskingEngine(generator, evaluator, BatchSize(BATCH))
    contest = Contest(engine, fashion_loop(generator), latents, range(len(generator.sites)), masks=32)
    yield contest.result("exact masking, all sites, bundled generator", 2.5, repeats=3)
    bfloat16_contest = dataclasses.replace(contest, precision="bfloat16")
    yield bfloat16_contest.result("exact masking in bfloat16, all sites, bundled generator", 5.0, repeats=3)
    with tempfile.TemporaryDirectory() as folder:
        yield full_size(Path(folder)).result("exact masking, last half of the sites, BigGAN-deep-128", 2.0, repeats=2)


def full_size(folder: Path) -> Contest:
    """Prepare BigGAN-deep-128 and Inception-v3 with random weights, and two sites of the last half to save time."""
    inception = random_inception_state()
    torch.save(inception, folder / "inception.pth")
    save_folder(random_network(128), folder / "weights")
    store = WeightStore({"biggan-deep-128": str(folder / "weights"), "inception-v3": str(folder / "inception.pth")})
    request = GeneratorRequest("biggan-deep-128", store)
    generator: Generator = load_biggan_deep(request)
    evaluator: Evaluator = load_inception_v3(EvaluatorRequest("inception-v3", store))
    loop = biggan_deep_loop(load_biggan_deep(request), inception)
    latents = generator.sample_latents(0, 0, range(2))
    return Contest(MaskingEngine(generator, evaluator.eval(), BatchSize(1)), loop, latents, (20, 32), masks=8)
