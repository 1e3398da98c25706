"""How often units of generators with random weights are called interpretable, by chance and by the published rule.

Labels are those of pictures of the world ``scenes`` of the same class, which the generators have not seen: whatever a
unit overlaps with, it does so by chance, and a generator with any unit beyond chance is a false discovery.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from cawa_core.dissection.dissect import choose_thresholds, unit_overlaps
from cawa_core.generators.small_biggan.generator import ScenesBigGAN
from cawa_core.generators.small_biggan.network import Architecture, SmallBigGANNetwork
from cawa_core.segmenters.base import Segmenter
from cawa_core.worlds.scenes.renderer import render
from cawa_core.worlds.scenes.vocabulary import LABELS
from workflows.analyses.dissection.work import overlap_rows
from workflows.analyses.unit_concepts import FEWEST_OVERLAP, LEVEL
from workflows.analyses.unit_concepts.derivation import ROUNDING, summed_over_classes, tested

ARCHITECTURE = Architecture(
    z_dim=12,
    embed_dim=12,
    n_classes=30,
    base_resolution=4,
    widths=(16, 16, 12, 8, 8),
    upsample=(True, True, True, False),
    image_channels=3,
)
SETTINGS = ((1, 64), (3, 64), (10, 32))
"""Classes, and images of each."""
GENERATORS = 200
THRESHOLD_IMAGES = 96


class OtherScenes(Segmenter):
    """Labels other pictures of the class :attr:`class_id` than those that it is given, each time new ones."""

    name = "other-scenes"
    digest = "0"
    protocol = "labels of other pictures of the class"
    concepts = LABELS

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed = seed
        self.class_id = 0
        self.rendered = 0

    def segment(self, images: Tensor) -> Tensor:
        """Return the label maps of as many pictures of the class."""
        indices = range(self.rendered, self.rendered + len(images))
        self.rendered += len(images)
        labels = render([self.class_id] * len(images), indices, seed=self.seed, side=images.shape[-1]).labels
        return torch.from_numpy(labels.astype(np.int64))


def random_generator(seed: int) -> ScenesBigGAN:
    """Return a small generator with random weights, whose units depend on latent and class."""
    torch.manual_seed(seed)
    network = SmallBigGANNetwork(ARCHITECTURE)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_(std=0.3)
            layer.running_var.uniform_(0.5, 2.0)
    for norm in network.conditional_norms():
        norm.gain.weight.data.normal_(std=0.06)
        norm.offset.weight.data.normal_(std=0.3)
    return ScenesBigGAN(network, digest="random")


def audited(seed: int, n_classes: int, n_images: int) -> pd.DataFrame:
    """Return the table ``unit_concepts`` of one generator.

    Args:
        seed: seed of its weights, its latents and the pictures.
        n_classes: number of classes, drawn at random.
        n_images: images of each.
    """
    generator, labels = random_generator(seed), OtherScenes(seed)
    classes = np.random.default_rng(seed).permutation(ARCHITECTURE.n_classes)[:n_classes].tolist()
    z = generator.sample_latents(seed, 0, range(THRESHOLD_IMAGES + n_classes * n_images))
    sites = range(len(generator.sites))
    spread = torch.arange(THRESHOLD_IMAGES) % ARCHITECTURE.n_classes
    thresholds = choose_thresholds(generator, labels, z[:THRESHOLD_IMAGES], spread, sites)
    rows = []
    for class_id, of_class in zip(classes, z[THRESHOLD_IMAGES:].split(n_images), strict=True):
        labels.class_id = class_id
        by_site = unit_overlaps(generator, labels, of_class, torch.full((n_images,), class_id), thresholds)
        rows += [
            pd.DataFrame(overlap_rows(class_id, site, overlaps, LABELS))
            for site, overlaps in zip(thresholds, by_site, strict=True)
        ]
    return tested(summed_over_classes(pd.concat(rows)))


def varying(units: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of ``unit_concepts`` whose overlap depends on label maps: not those of a unit that is off."""
    return units[units.both_by_chance_variance > ROUNDING]


def concept_table() -> str:
    """Audit all generators and return the table of what is called more than chance."""
    lines = [
        f"| classes | images of each | pairs with p ≤ {LEVEL} | p ≤ 0.001 | q ≤ {LEVEL} | generators with any | "
        "units interpretable | by the published rule |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for n_classes, n_images in SETTINGS:
        audits = [audited(seed, n_classes, n_images) for seed in range(GENERATORS)]
        pairs = pd.concat([varying(units) for units in audits])
        false_discoveries = [bool((units.q_value <= LEVEL).any()) for units in audits]
        best = pd.concat([units[units.is_best] for units in audits])
        rates = [
            (pairs.p_value <= LEVEL).mean(),
            (pairs.p_value <= 0.001).mean(),
            (pairs.q_value <= LEVEL).mean(),
            np.mean(false_discoveries),
            best.is_interpretable.mean(),
            (best.iou > FEWEST_OVERLAP).mean(),
        ]
        cells = " | ".join(f"{rate:.2%}" for rate in rates)
        lines.append(f"| {n_classes} | {n_images} | {cells} |")
    return "\n".join(lines) + "\n"
