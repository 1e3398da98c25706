"""Latents optimised for a layout: losses fall row by row, and pictures agree more than the closest of as many draws."""

import numpy as np
import pytest
import torch
from scipy import stats

from cawa_core.interventions import run_with_features
from cawa_core.semantics.layouts import (
    ANYTHING,
    PASSES_PER_STEP,
    closest_latents,
    layout_agreement,
    layout_loss,
    minimised,
    optimised_latents,
)
from cawa_core.tables.schema import ALL_SITES
from workflows.analyses.semantics import SemanticOptions
from workflows.analyses.semantics.training import Trainer
from workflows.lab import Lab


def test_each_row_finds_its_own_minimum():
    wanted = torch.tensor([[1.0, -2.0], [0.3, 0.4], [5.0, 5.0]])
    alone = [
        minimised(
            lambda values, row=row: (values - wanted[row : row + 1]).square().sum(dim=1), torch.zeros(1, 2), 60, 0.1
        )
        for row in range(3)
    ]
    together = minimised(lambda values: (values - wanted).square().sum(dim=1), torch.zeros(3, 2), 60, 0.1)
    torch.testing.assert_close(together, torch.cat(alone))
    assert (together[1] - wanted[1]).abs().max() < 0.1


def test_pixels_of_a_layout_that_may_show_anything_do_not_count():
    scores = torch.randn(2, 3, 4, 4)
    layouts = torch.randint(3, (2, 4, 4))
    layouts[0, :2] = ANYTHING
    by_hand = torch.nn.functional.cross_entropy(scores[:1, :, 2:], layouts[:1, 2:])
    assert float(layout_loss(scores, layouts)[0]) == pytest.approx(float(by_hand))
    maps = scores.argmax(dim=1)
    assert float(layout_agreement(maps, layouts)[0]) == pytest.approx(
        float((maps[0, 2:] == layouts[0, 2:]).float().mean())
    )
    assert layout_agreement(layouts.clone(), layouts).tolist() == [1, 1]


def test_optimised_pictures_agree_more_than_the_closest_of_as_many_draws():
    """Ten layouts of other pictures of their class; agreement by the segmenter, at an equal number of passes."""
    lab = Lab.open("scenes-biggan", needs=("segmenter",))
    generator = lab.generator
    trainer = Trainer(lab, SemanticOptions(semantics_training_latents=120, semantics_steps=0))
    extractor = trainer.closed_form("lda")[ALL_SITES]
    draws, steps = 10, 30
    passes = draws + PASSES_PER_STEP * steps
    gains = []
    for class_id in range(0, 30, 3):
        ids = torch.tensor([class_id])
        layout = trainer.labelled(generator.sample_latents(9, class_id, [0]), ids).maps
        z = generator.sample_latents(0, class_id, range(passes))
        best = closest_latents(generator, extractor, layout[0], class_id, z, 1, 64)
        start = closest_latents(generator, extractor, layout[0], class_id, z[:draws], 1, 64)
        moved = optimised_latents(generator, extractor, layout, ids, start, steps=steps)
        agreements = [float(layout_agreement(trainer.labelled(latents, ids).maps, layout)) for latents in (moved, best)]
        gains.append(agreements[0] - agreements[1])
        with torch.no_grad():
            losses = [
                float(layout_loss(extractor(run_with_features(generator, latents, ids, extractor.sites)[0]), layout))
                for latents in (start, moved)
            ]
        assert losses[1] < losses[0]
    assert np.mean(gains) > 0.01
    assert stats.wilcoxon(gains, alternative="greater").pvalue < 0.05
