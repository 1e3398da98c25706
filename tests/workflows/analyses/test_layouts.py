"""The stage ``layouts``: rows equal a plain computation, whatever shards, and optimisation does what it is for."""

import dataclasses
import io
import json

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from cawa_core.errors import InputError
from cawa_core.generators.small_biggan.generator import ScenesBigGAN
from cawa_core.interventions import run
from cawa_core.semantics.categories import category_maps_of
from cawa_core.semantics.layouts import ANYTHING
from cawa_core.tables import Manifest
from tests.workflows.conftest import SMALL, small_audit
from workflows.analyses.layouts import BEST_OF_MANY, CLOSEST, OPTIMISED
from workflows.analyses.layouts.results import layout_claim
from workflows.analyses.layouts.strokes import RADIUS, drawn_stroke
from workflows.analyses.layouts.work import FIRST_LAYOUT
from workflows.compare.comparison import compare
from workflows.compare.options import comparison_spec
from workflows.lab import Lab

SCENES = dataclasses.replace(
    SMALL,
    generator="scenes-biggan",
    evaluator="",
    real_images="",
    segmenter="scenes-segmenter",
    classes=(0, 7, 29),
    stages=("layouts",),
    semantics_training_latents=60,
    layout_draws=4,
    layout_steps=12,
)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes") / "audit"
    assert small_audit(folder, SCENES, report=True).quarantined == ()
    return Manifest.read(folder)


def test_each_class_has_its_layouts_and_strokes(scenes):
    layouts, strokes = scenes.table("layouts"), scenes.table("strokes")
    assert set(map(tuple, layouts[["class_id", "layout", "way"]].to_numpy())) == {
        (class_id, 0, way) for class_id in (0, 7, 29) for way in (CLOSEST, OPTIMISED, BEST_OF_MANY)
    }
    assert layouts.set_index("way").passes.groupby(level=0).max().to_dict() == {
        CLOSEST: 4,
        OPTIMISED: 4 + 3 * 12,
        BEST_OF_MANY: 4 + 3 * 12,
    }
    assert (layouts.pixels == 32**2).all()
    assert layouts.realism.isna().all()
    assert (strokes.pixels + strokes.outside_pixels == 32**2).all()
    assert set(map(tuple, strokes[["class_id", "stroke"]].to_numpy())) == {
        (class_id, stroke) for class_id in (0, 7, 29) for stroke in (0, 1)
    }


def test_optimisation_moves_towards_layouts_and_strokes(scenes):
    """Three layouts and six strokes, by the segmenter, which the optimisation does not see."""
    layouts, strokes = scenes.table("layouts"), scenes.table("strokes")
    agreeing = layouts.groupby("way").agreeing.sum()
    assert agreeing[OPTIMISED] > agreeing[CLOSEST]
    assert strokes.after.sum() > 2 * strokes.before.sum()
    assert (strokes.outside_kept / strokes.outside_pixels).mean() > 0.8
    assert strokes.change.mean() > 2 * strokes.outside_change.mean()


def test_the_closest_draw_agrees_as_a_plain_count_says(scenes):
    lab = Lab.open("scenes-biggan", needs=("segmenter",))
    generator = lab.generator
    rows = scenes.table("layouts").set_index(["class_id", "way"])
    with torch.inference_mode():
        ids = torch.tensor([7])
        z = generator.sample_latents(lab.spec.seed, 7, [FIRST_LAYOUT])
        layout = category_maps_of(lab.segmenter, run(generator, z, ids, ()))[0]
        image = torch.from_numpy(_pixels(rows.pngs[7, CLOSEST][1])).permute(2, 0, 1)[None] / 127.5 - 1
        agreeing = int((category_maps_of(lab.segmenter, image)[0] == layout).sum())
    assert rows.agreeing[7, CLOSEST] == pytest.approx(agreeing, abs=10)  # an image of 8 bits moves a few borders


def _pixels(png):
    return np.array(Image.open(io.BytesIO(png)), np.float32)


def test_shards_change_no_row(scenes, tmp_path):
    for per_shard in (1, 3):
        folder = tmp_path / str(per_shard)
        small_audit(folder, SCENES, classes_per_shard=per_shard)
        for table in ("layouts", "strokes"):
            pd.testing.assert_frame_equal(Manifest.read(folder).table(table), scenes.table(table))


def test_realism_is_measured_with_real_images(tmp_path):
    spec = dataclasses.replace(SCENES, evaluator="scenes-cnn", real_images="scenes", classes=(3,), layout_steps=1)
    small_audit(tmp_path / "audit", spec)
    manifest = Manifest.read(tmp_path / "audit")
    assert (manifest.table("layouts").realism > 0.3).all()
    assert (manifest.table("strokes")[["realism_before", "realism_after"]] > 0.1).all().all()


def test_none_of_either_leaves_its_table_empty(tmp_path):
    spec = dataclasses.replace(SCENES, classes=(3,), layouts_per_class=0, strokes_per_class=0)
    small_audit(tmp_path / "audit", spec)
    summary = json.loads((tmp_path / "audit" / "summary.json").read_text())
    assert (summary["layouts"], summary["strokes"]) == (None, None)


def test_a_stroke_is_what_other_images_have_there():
    """The upper half of all other images shows category 2: strokes are painted there, and with it."""
    image = torch.ones(32, 32, dtype=torch.int64)
    others = image.repeat(5, 1, 1)
    others[:, :16] = 2
    for number in range(10):
        stroke = drawn_stroke(image, others, 0, 3, number)
        assert stroke.category == 2
        rows, _ = (stroke.map == 2).nonzero(as_tuple=True)
        assert rows.float().mean() < 18
        assert int(rows.max() - rows.min()) <= 2 * 32 * RADIUS
        assert (stroke.map[stroke.map != 2] == ANYTHING).all()
    assert drawn_stroke(image, image.repeat(5, 1, 1), 0, 3, 0) is None


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [([0.01, 0.02], "holds"), ([-0.02, -0.01], "does not hold"), ([-0.01, 0.01], "open"), (None, "open")],
)
def test_the_claim_is_decided_by_its_interval(interval, verdict):
    ways = [{"way": way, "agreement": 0.9, "passes": 160} for way in (CLOSEST, OPTIMISED, BEST_OF_MANY)]
    entry = {"n_layouts": 30, "n_classes": 30, "ways": ways, "gain": 0.0, "gain_ci": interval}
    assert layout_claim(entry).verdict == verdict
    assert layout_claim({**entry, "n_classes": 5}).verdict == "open"  # too few classes decide nothing


def test_the_report_and_a_comparison_show_it(scenes, tmp_path):
    page = scenes.storage.read("report.html").decode()
    assert "Layouts and strokes" in page
    assert "Latents that are optimised for a layout" in page
    small_audit(tmp_path / "again", dataclasses.replace(SCENES, seed=1))
    result = compare(str(scenes.storage.path("")), str(tmp_path / "again"), comparison_spec(), str(tmp_path / "out"))
    shown = result.storage.read("compare.html").decode()
    assert "agreement with layouts" in shown
    assert "agreement with strokes" in shown


def test_a_generator_without_gradients_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(ScenesBigGAN, "has_gradients", False)
    with pytest.raises(InputError, match="stage layouts needs gradients, which scenes-biggan does not have"):
        small_audit(tmp_path / "audit", SCENES)
