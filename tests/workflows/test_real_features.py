"""Features of real images: computed once for every audit, and never those of another network or arithmetic."""

import dataclasses

import pytest
import torch

from workflows.analyses import ANALYSES
from workflows.lab import Lab
from workflows.lab import real_features as real_features_module
from workflows.options.audit import audit_spec
from workflows.options.run import RunOptions
from workflows.running.job import roles_needed


def lab_of(analysis, tmp_path, **fields):
    spec = dataclasses.replace(audit_spec(), classes=(8,), **fields)
    return Lab.from_spec(spec, RunOptions(cache=str(tmp_path)), roles_needed(spec, [ANALYSES[analysis]]))


def test_features_of_real_images_are_computed_once_for_all_audits(monkeypatch, tmp_path):
    metrics, hybrids = (lab_of(analysis, tmp_path) for analysis in ("class_metrics", "hybrids"))
    assert set(hybrids.networks) == {"evaluator", "manifold_features"}
    everything, _ = metrics.real_features(8, tuple(metrics.networks))
    monkeypatch.setattr(real_features_module, "_extract", lambda *_: pytest.fail("computed again"))
    found, unreadable = hybrids.real_features(8, ("manifold_features",))
    assert list(found) == ["manifold_features"]
    assert torch.equal(found["manifold_features"], everything["manifold_features"])
    assert unreadable == []


def test_features_of_different_networks_are_not_mixed_up(tmp_path):
    """Neither for other weights nor for images judged in other arithmetic."""
    plain, _ = lab_of("hybrids", tmp_path).real_features(8, ("manifold_features",))
    other = lab_of("hybrids", tmp_path)
    network = other.networks["manifold_features"]
    network.digest = "other"
    with torch.no_grad():
        for weights in network.parameters():
            weights.mul_(1.5)
    changed, _ = other.real_features(8, ("manifold_features",))
    assert not torch.equal(changed["manifold_features"], plain["manifold_features"])
    lower = lab_of("hybrids", tmp_path, dtype="bfloat16")
    with lower.arithmetic():
        rounded, _ = lower.real_features(8, ("manifold_features",))
    assert not torch.equal(rounded["manifold_features"], plain["manifold_features"])
    again, _ = lab_of("hybrids", tmp_path).real_features(8, ("manifold_features",))
    assert torch.equal(again["manifold_features"], plain["manifold_features"])
