"""Artifact units: a planted one is found and its removal brings the images back; numbers equal those by hand."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch

from cawa_core.class_metrics.frechet import frechet_distance
from cawa_core.class_metrics.manifold import manifold_metrics
from cawa_core.dissection.removal import by_site
from cawa_core.errors import InputError
from cawa_core.generators.base import class_ids_of
from cawa_core.interventions import masks_at, run
from cawa_core.segmenters.base import concept_masks
from cawa_core.tables import Manifest
from tests.planted_artifacts import ARTIFACT_UNIT
from tests.workflows.conftest import SMALL, small_audit
from workflows.analyses.artifact_units.results import artifact_claims, removal_summary, units_of_most_classes
from workflows.lab import Lab
from workflows.options.run import RunOptions
from workflows.results.class_resamples import ClassResamples

PLANTED = dataclasses.replace(
    SMALL,
    generator="tests.planted_artifacts:ArtifactBigGAN.of",
    evaluator="fashion-cnn",
    real_images="fashion-mnist-test",
    segmenter="garment-parts",
    classes=(1, 8),
    stages=("artifact_units",),
    artifact_latents=400,
    artifact_scored_latents=60,
    artifact_shares=(0.001, 0.01),
    artifact_random_sets=2,
)


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("planted") / "audit"
    assert small_audit(folder, PLANTED).quarantined == ()
    return Manifest.read(folder)


def test_the_unit_that_draws_artifacts_is_the_worst_of_every_class(planted):
    units = planted.table("artifact_units")
    worst = units[units["rank"] == 1]
    assert set(zip(worst.site, worst.channel, strict=True)) == {ARTIFACT_UNIT}
    assert set(worst.class_id) == {1, 8}
    assert (worst.fid > worst.fid_by_chance + 3 * worst.fid_by_chance_std).all()
    site, channel = units_of_most_classes(units, 576)[0]["site"], units_of_most_classes(units, 576)[0]["channel"]
    assert (site, channel) == ARTIFACT_UNIT


def test_images_are_closer_to_real_ones_without_it(planted):
    table = planted.table("artifact_removal")
    fid = table[table.n_units <= 1].groupby(["class_id", "removed"]).fid.mean().unstack()
    assert (fid.artifact < 0.6 * fid.none).all()
    assert (fid.random > 0.8 * fid.none).all()


def test_rows_are_those_by_hand(planted):
    """One unit set to zero in the second half of the latents of a class."""
    lab = Lab.from_spec(
        PLANTED, RunOptions(), ("segmenter", "evaluator", "real_images", "fid_features", "manifold_features")
    )
    z = lab.latents(8, 460)[400:]
    ids = class_ids_of(8, z)
    with torch.inference_mode():
        before = lab.generator(z, ids)
        after = run(lab.generator, z, ids, masks_at(by_site([ARTIFACT_UNIT])))
        features = lab.networks["fid_features"].features(after).float()
        differ = (concept_masks(lab.segmenter, before) != concept_masks(lab.segmenter, after)).any(dim=1)
    real = lab.real_features(8, ("fid_features",))[0]["fid_features"]
    manifold = manifold_metrics(real=real[:60], fake=features, neighbours=3)
    table = planted.table("artifact_removal")
    row = table[(table.class_id == 8) & (table.removed == "artifact") & (table.n_units == 1)].iloc[0]
    assert row.fid == pytest.approx(frechet_distance(real=real, fake=features), rel=1e-5)
    assert row.precision == pytest.approx(manifold.precision)
    assert row.recall == pytest.approx(manifold.recall)
    assert row.changed == pytest.approx(float(differ.double().mean()))
    assert row.n_images == 60


def test_the_order_of_sizes_and_shards_changes_nothing(planted, tmp_path):
    other = dataclasses.replace(PLANTED, classes=(8,), artifact_shares=(0.01, 0.001))
    small_audit(tmp_path / "audit", other)
    tables = [manifest.table("artifact_removal") for manifest in (planted, Manifest.read(tmp_path / "audit"))]
    first, second = (table[table.class_id == 8].reset_index(drop=True) for table in tables)
    pd.testing.assert_frame_equal(first, second)


def removals(artifact, random, n_classes=12):
    """Table with FID 1 before, and other values without units."""
    rows = []
    for class_id in range(n_classes):
        for removed, n_units, fid in (("none", 0, 1.0), ("artifact", 4, artifact), ("random", 4, random)):
            value = fid + 0.001 * class_id
            rows.append(
                {
                    "class_id": class_id,
                    "removed": removed,
                    "n_units": n_units,
                    "draw": 0,
                    "fid": value,
                    "precision": 0.5,
                    "recall": 0.5,
                    "changed": 0.1,
                }
            )
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("artifact", "random", "verdicts"),
    [
        (0.6, 1.0, ["holds", "holds"]),
        (1.2, 1.0, ["does not hold", "does not hold"]),
        (1.1, 1.5, ["does not hold", "holds"]),
    ],
)
def test_verdicts_follow_the_distances(artifact, random, verdicts):
    summary = removal_summary(removals(artifact, random), ClassResamples(0, 100))
    claims = artifact_claims(summary, {class_id: str(class_id) for class_id in range(12)})
    assert [claim.verdict for claim in claims] == verdicts
    assert summary[0]["quality"]["fid"]["artifact"] == pytest.approx(artifact, abs=0.02)
    assert summary[0]["quality"]["precision"]["none"] == 0.5


def test_units_are_counted_over_classes():
    units = pd.DataFrame(
        {
            "class_id": [0, 0, 1, 1],
            "site": [0, 1, 0, 0],
            "channel": [5, 2, 5, 3],
            "rank": [1, 2, 1, 2],
            "fid": [2.0, 1.5, 4.0, 1.0],
            "fid_by_chance": [1.0, 1.0, 1.0, 1.0],
        }
    )
    first, *_ = units_of_most_classes(units, 16)
    assert first == {"site": 0, "channel": 5, "n_classes": 2, "fid": 3.0, "fid_by_chance": 1.0, "by_chance": 0.25}


def test_too_few_real_images_are_bad_input(tmp_path):
    folder = tmp_path / "real"
    for name in ("trouser", "dress", "bag"):
        (folder / name).mkdir(parents=True)
    spec = dataclasses.replace(PLANTED, real_images=str(folder))
    with pytest.raises(InputError):
        small_audit(tmp_path / "audit", spec)


def test_random_units_differ_by_draw(planted):
    table = planted.table("artifact_removal")
    random = table[(table.removed == "random") & (table.n_units > 1)]
    assert random.groupby("class_id").fid.nunique().eq(2).all()
    assert np.isfinite(table.fid).all()
