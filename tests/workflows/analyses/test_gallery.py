"""Pictures of the gallery: the same whatever the batch."""

import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

from cawa_core.numerics.batch_size import BatchSize
from tests.workflows.conftest import SMALL
from workflows.lab.memo import Memo
from workflows.options.run import RunOptions
from workflows.planning.shards import Shard
from workflows.running.job import Job


@pytest.fixture(scope="module")
def job():
    return Job.open(SMALL, RunOptions())


def pixels(png):
    with Image.open(io.BytesIO(png)) as picture:
        return np.asarray(picture)


def in_batches(lab, size):
    return dataclasses.replace(lab, batch=BatchSize(size), memo=Memo())


def test_a_gallery_is_the_same_whatever_the_batch(job):
    whole, pieces = (
        job.work("gallery").run(in_batches(job.lab, size), job.spec, Shard("gallery", (8,)), None).tables["gallery"]
        for size in (job.lab.batch_size, 5)
    )
    np.testing.assert_allclose(whole["score"], pieces["score"], rtol=1e-4)
    for one, other in zip(whole["png"], pieces["png"], strict=True):
        np.testing.assert_allclose(pixels(one).astype(int), pixels(other), atol=1)


def test_no_pass_is_larger_than_the_batch(job, monkeypatch):
    """Pictures of the gallery and of edits, and what edits are scored by."""
    sizes = []
    evaluator = job.lab.evaluator
    real = evaluator.log_probabilities
    monkeypatch.setattr(evaluator, "log_probabilities", lambda images: sizes.append(len(images)) or real(images))
    for analysis in ("gallery", "edits"):
        job.work(analysis).run(in_batches(job.lab, 3), job.spec, Shard(analysis, (8,)), None)
    assert sizes
    assert max(sizes) <= 3
