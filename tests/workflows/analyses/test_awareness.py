"""Awareness in an audit: its rows are the estimators', for the classes that each covers."""

import dataclasses

import numpy as np
import pytest
import torch

from cawa_core.awareness import closed_form_awareness
from cawa_core.errors import InputError
from cawa_core.tables import Manifest
from tests.workflows.conftest import SMALL, small_audit
from tests.workflows.test_audit import CHANNELS


def test_the_awareness_table_is_the_estimators(audited, bundled_generator):
    """Rows against the functions themselves: nothing is lost or shuffled on the way."""
    table = Manifest.read(audited).table("awareness")
    rows = table[(table.estimator == "closed_form") & (table.class_id == 7) & (table.site == 3)]
    embedding = bundled_generator.class_embedding(torch.tensor([7]))
    expected = closed_form_awareness(bundled_generator.modulation(3), embedding)
    np.testing.assert_allclose(rows.category_awareness, expected.category_awareness[0], rtol=1e-6)
    np.testing.assert_allclose(rows.expected_activation, expected.expected_activation[0], rtol=1e-6)


def test_monte_carlo_on_some_classes(tmp_path):
    """The classes at both ends; every class keeps its closed form, and one criterion means one thing for all."""
    spec = dataclasses.replace(SMALL, stages=("awareness",), monte_carlo_classes=2)
    small_audit(tmp_path, spec)
    awareness = Manifest.read(tmp_path).table("awareness")
    counts = awareness.groupby(["estimator", "class_id"]).size().to_dict()
    assert counts == {
        **{("closed_form", class_id): CHANNELS for class_id in SMALL.classes},
        **{("monte_carlo", class_id): CHANNELS for class_id in (1, 8)},
    }
    with pytest.raises(InputError, match="monte_carlo_classes needs closed_form"):
        small_audit(tmp_path / "no", dataclasses.replace(spec, awareness_estimators=("monte_carlo",)))
