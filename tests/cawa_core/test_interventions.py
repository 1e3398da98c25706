"""Interventions against a walk by hand; neutral ones change no bit; weights, regions, other classes, sweeps."""

import pytest
import torch

from cawa_core.errors import InputError
from cawa_core.generators.base import class_ids_of
from cawa_core.interventions import (
    START,
    Conditioning,
    Constant,
    Intervention,
    OtherClass,
    Scale,
    Shift,
    masks_at,
    run,
    sweep,
)
from tests.reference.walked_interventions import walked_images

ROUNDING = {"atol": 2e-5, "rtol": 0}
"""Of float32 images in [-1, 1]."""


@pytest.fixture(autouse=True)
def _without_gradients():
    with torch.no_grad():
        yield


@pytest.fixture
def batch(generator):
    return generator.sample_latents(0, 1, range(3)), torch.tensor([1, 1, 2])


def regions(generator, *shape):
    torch.manual_seed(0)
    return torch.rand(*shape, generator.image_size, generator.image_size)


def whole_weight_changes(generator):
    """Of weight 1, with every target, by name; not in the order of the sites."""
    last = len(generator.sites) - 1
    return {
        "masks": masks_at({last: (0, 2), 1: (), 0: (3,)}),
        "scale": [Intervention(last, (1, 0), Scale(-0.7)), Intervention(1, (2,), Scale(3))],
        "shift": [Intervention(1, (1, 0), Shift(torch.tensor([1.5, -1])))],
        "set": [Intervention(2, (3, 1), Constant(torch.tensor([0.4, 2]))), Intervention(0, (0,), Constant(1.1))],
        "one site as given": [Intervention(1, (1,), Constant(2)), Intervention(1, (1, 2), Scale(0.5))],
        "other class": [Intervention(last, (0, 3), OtherClass(2)), Intervention(1, (1,), OtherClass(0))],
        "a class from a site on": [Conditioning(2, 0), Intervention(3, (1,), Scale(2)), Conditioning(4, 2)],
        "a class from the start": [Intervention(1, (0,), OtherClass(2)), Conditioning(START, 0)],
        "transplant": [
            Intervention(1, (1, 2), OtherClass(2)),
            Conditioning(1, 2),
            Intervention(4, (0,), OtherClass(2)),
        ],
        "nothing": [],
    }


def weighted_changes(generator):
    """Soft sets of channels and regions."""
    alpha = torch.tensor([0.3, 1, 0])
    last = len(generator.sites) - 1
    return {
        "soft mask": [Intervention(1, (0, 3, 2), Constant(0), alpha)],
        "soft transplant": [Intervention(last, (2, 0, 1), OtherClass(2), alpha)],
        "region": [Intervention(last, (1, 2), Shift(1.5), region=regions(generator))],
        "region of each image": [Intervention(2, (1, 2), Constant(1.5), region=regions(generator, 3))],
        "soft set in a region": [Intervention(2, (1, 0, 3), Constant(1.5), alpha, regions(generator, 3))],
        "both": [
            Intervention(3, (0,), Scale(3), region=regions(generator)),
            Intervention(2, (1, 2, 0), Scale(0), alpha),
        ],
    }


def test_a_run_is_the_walk_by_hand(generator, batch):
    for changes in whole_weight_changes(generator).values():
        assert torch.equal(run(generator, *batch, changes), walked_images(generator, *batch, changes))


def test_weighted_runs_are_the_walk_by_hand(generator, batch):
    """But for the rounding of the interpolation."""
    for changes in weighted_changes(generator).values():
        images = run(generator, *batch, changes)
        torch.testing.assert_close(images, walked_images(generator, *batch, changes), **ROUNDING)
        assert not torch.allclose(images, generator(*batch), atol=1e-4)


def test_neutral_interventions_change_no_bit(generator, batch):
    whole, none = torch.ones(generator.image_size, generator.image_size), torch.zeros(2)
    changes = [
        Intervention(site.index, (0, 1), target, weight, region)
        for site in generator.sites
        for target, weight, region in (
            (Scale(1), None, None),
            (Shift(0), None, None),
            (Scale(1), None, whole * 0.3),
            (Constant(5), None, whole * 0),
            (Constant(5), none, None),
            (Constant(5), none, whole),
            (OtherClass(2), none, None),
        )
    ]
    changes += masks_at({site.index: () for site in generator.sites})
    plain = generator(*batch)
    assert torch.equal(run(generator, *batch, changes), plain)
    assert torch.equal(run(generator, *batch, []), plain)


def test_a_weight_of_one_is_no_weight(generator, batch):
    ones, whole = torch.ones(2), torch.ones(generator.image_size, generator.image_size)
    for target in (Shift(1.5), Constant(0), Scale(3), OtherClass(2)):
        plain, soft, region = (
            run(generator, *batch, [Intervention(1, (0, 2), target, *weights)])
            for weights in ((None, None), (ones, None), (None, whole))
        )
        assert torch.equal(plain, soft)
        assert torch.equal(plain, region)


def test_the_order_of_sites_is_theirs_and_of_one_site_the_given_one(generator, batch):
    first, second, later = (
        Intervention(1, (0, 1), Constant(2)),
        Intervention(1, (0,), Scale(0.5)),
        Intervention(4, (2,), Shift(1)),
    )
    expected = run(generator, *batch, [first, second, later])
    assert torch.equal(run(generator, *batch, [later, first, second]), expected)
    assert not torch.equal(run(generator, *batch, [second, first, later]), expected)


def test_a_soft_set_is_differentiable(tiny_generator):
    """Against central differences; a step of 0.02 is small beside the curvature and large beside rounding."""
    z, class_ids = tiny_generator.sample_latents(0, 1, range(4)), torch.full((4,), 1)

    def loss(alpha):
        soft = Intervention(1, (0, 2, 5), OtherClass(2), alpha)
        also = Intervention(4, (0, 1, 3), Constant(0), alpha)
        return run(tiny_generator, z, class_ids, [also, soft]).double().square().mean()

    alpha = torch.tensor([0.4, 0.7, 0.2])
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(loss(alpha.requires_grad_()), alpha)
    steps = 0.02 * torch.eye(3)
    differences = torch.stack([loss(alpha + step) - loss(alpha - step) for step in steps]) / 0.04
    torch.testing.assert_close(gradient.double(), differences, rtol=0.05, atol=1e-5)
    assert gradient.abs().min() > 1e-4


def test_targets_and_regions_are_differentiable(tiny_generator):
    z, class_ids = tiny_generator.sample_latents(0, 1, range(2)), torch.full((2,), 1)
    value, region = torch.ones(2, requires_grad=True), regions(tiny_generator).requires_grad_()
    with torch.enable_grad():
        run(tiny_generator, z, class_ids, [Intervention(1, (0, 1), Shift(value), region=region)]).sum().backward()
    assert value.grad.abs().min() > 0
    assert region.grad.abs().max() > 0


def test_a_shift_of_every_value_is_the_sum(tiny_generator):
    z = tiny_generator.sample_latents(0, 3, range(2))
    ids = class_ids_of(3, z)
    state = tiny_generator.run_to(2, z, ids)
    shift = torch.randn_like(state.features[:, :3])
    features = state.features.clone()
    features[:, 4:7] += shift
    by_hand = tiny_generator.run_from(2, state.with_features(features))
    torch.testing.assert_close(run(tiny_generator, z, ids, [Intervention(2, (4, 5, 6), Shift(shift))]), by_hand)


def test_a_region_keeps_the_rest(tiny_generator):
    """At the last site, beyond the few pixels that the last convolution reaches, nothing changes."""
    z, class_ids = tiny_generator.sample_latents(0, 0, range(2)), torch.zeros(2, dtype=torch.int64)
    last, side = tiny_generator.sites[-1].index, tiny_generator.image_size
    region = torch.zeros(side, side)
    region[:, : side // 2] = 1
    changes = [Intervention(last, (0,), Shift(3), region=region)]
    moved = (run(tiny_generator, z, class_ids, changes) - tiny_generator(z, class_ids)).abs()
    assert moved[..., : side // 2].max() > 0.01
    assert moved[..., side // 2 + 2 :].max() == 0


def test_all_of_the_own_class_is_the_image(generator, batch):
    z, _ = batch
    every = [Intervention(site.index, tuple(range(site.channels)), OtherClass(1)) for site in generator.sites]
    class_ids = class_ids_of(1, z)
    assert torch.equal(run(generator, z, class_ids, every), generator(z, class_ids))


def test_conditioning_from_the_start_is_another_input(generator, batch):
    z, class_ids = batch
    other_z = generator.sample_latents(0, 1, range(3, 6))
    embedding = generator.class_embedding(torch.tensor([0]))[0]
    plain = generator(z, class_ids_of(0, z))
    assert torch.equal(run(generator, z, class_ids, [Conditioning(START, 0)]), plain)
    assert torch.equal(run(generator, z, class_ids, [Conditioning(START, embedding)]), plain)
    assert torch.equal(run(generator, z, class_ids, [Conditioning(START, z=other_z)]), generator(other_z, class_ids))
    both = [Conditioning(START, 0), Conditioning(START, z=other_z[0])]
    expected = generator(other_z[:1].expand(3, -1), class_ids_of(0, z))
    assert torch.equal(run(generator, z, class_ids, both), expected)


def test_later_sites_under_other_latents(generator, batch):
    z, class_ids = batch
    other_z = generator.sample_latents(0, 1, range(3, 6))
    state = generator.run_to(2, z, class_ids)
    state = generator.reconditioned(state, other_z, generator.class_embedding(class_ids))
    assert torch.equal(run(generator, z, class_ids, [Conditioning(2, z=other_z)]), generator.run_from(2, state))
    last = len(generator.sites) - 1
    assert torch.equal(run(generator, z, class_ids, [Conditioning(last, 0, other_z)]), generator(z, class_ids))


def test_a_sweep_is_each_variant_alone(generator, batch):
    variants = [*whole_weight_changes(generator).values(), *weighted_changes(generator).values()]
    images = {}
    for indices, several in sweep(generator, *batch, variants, batch_size=6):
        images |= zip(indices, several.split(3), strict=True)
    assert sorted(images) == list(range(len(variants)))
    for index, changes in enumerate(variants):
        assert torch.equal(images[index], run(generator, *batch, changes))


def test_masks_and_scales_of_a_site_are_swept_together(generator, batch):
    """Up to rounding what each is alone; of one width, site and factor in one pass."""
    changes = [
        Intervention(1, (0,), Constant(0)),
        Intervention(1, (2,), Scale(0)),
        Intervention(1, (1, 3), Constant(0)),
        Intervention(1, (1,), Constant(0)),
        Intervention(4, (1,), Scale(3)),
        Intervention(1, (), Constant(0)),
        Intervention(1, (1,), Scale(3)),
        Intervention(1, (), Constant(0)),
    ]
    swept = list(sweep(generator, *batch, [[change] for change in changes], batch_size=8))
    assert [tuple(indices) for indices, _ in swept] == [(5,), (7,), (0, 1), (3,), (2,), (6,), (4,)]
    for indices, several in swept:
        for index, images in zip(indices, several.split(3), strict=True):
            torch.testing.assert_close(images, run(generator, *batch, [changes[index]]), **ROUNDING)
    assert torch.equal(swept[0][1], swept[1][1])


def test_a_sweep_computes_what_is_shared_once(tiny_generator, monkeypatch):
    begun, advanced = [], []
    begin, next_site = type(tiny_generator).begin, type(tiny_generator).next_site
    monkeypatch.setattr(type(tiny_generator), "begin", lambda *given: begun.append(0) or begin(*given))
    monkeypatch.setattr(type(tiny_generator), "next_site", lambda *given: advanced.append(0) or next_site(*given))
    z = tiny_generator.sample_latents(0, 1, range(2))
    variants = [[Intervention(4, (channel,), OtherClass(2))] for channel in range(3)]
    assert len(list(sweep(tiny_generator, z, class_ids_of(1, z), variants))) == 3
    assert len(begun) == 2  # the latents and their donor
    assert len(advanced) == 4 + 4 + 3 * 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (Intervention(6, (0,), Shift(1)), "site must be in 0..5"),
        (Intervention(-1, (0,), Shift(1)), "site must be in 0..5"),
        (Intervention(6, (), Shift(1)), "site must be in 0..5"),
        (Intervention(0, (12,), Shift(1)), "channels must be in 0..11 at site 0"),
        (Intervention(0, (1, 1), Shift(1)), "different ones"),
        (Intervention(0, (1,), OtherClass(10)), "class_id must be in 0..9 for .* got 10"),
        (Intervention(0, (1,), Shift(1), region=torch.ones(4, 5)), r"region must be .* \[28, 28\] .* got \[4, 5\]"),
        (Intervention(0, (1,), Shift(1), torch.ones(2)), r"weight must be \[1\], .* got \[2\]: give where"),
        (Intervention(0, (1,), Shift(torch.ones(1, 2, 7, 7))), r"target must be a number or \[1\]; got \[1, 2, 7, 7\]"),
        (Intervention(0, (1,), Scale(torch.ones(1, 1, 7, 7))), r"target must be a number or \[1\]; got \[1, 1, 7, 7\]"),
        (Intervention(0, (1,), Scale(torch.ones(2))), r"target must be a number or \[1\]; got \[2\]"),
        (Conditioning(6, 0), "site must be in 0..5"),
        (Conditioning(START, -1), "class_id must be in 0..9"),
    ],
)
def test_interventions_that_do_not_fit(tiny_generator, change, message):
    z = tiny_generator.sample_latents(0, 0, [0])
    with pytest.raises(InputError, match=message):
        run(tiny_generator, z, torch.tensor([0]), [change])
    with pytest.raises(InputError, match=message):
        next(sweep(tiny_generator, z, torch.tensor([0]), [[], [change]]))
