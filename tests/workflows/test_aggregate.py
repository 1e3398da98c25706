"""Derived tables from stage tables small enough to work out by hand."""

import numpy as np
import pandas as pd
import pytest

from cawa_core.specs import AuditSpec
from workflows.aggregate import (
    channel_statistics,
    class_overlap_rows,
    class_rankings,
    masking_correlation_rows,
    metric_correlation_rows,
    popularity_rows,
    shared_channel_rows,
)

N_CHANNELS = 6
AWARENESS = {0: [6, 5, 4, 3, 2, 1], 1: [6, 5, 1, 2, 3, 4], 2: [1, 2, 3, 4, 5, 6]}


def awareness_table(estimator="closed_form"):
    rows = [
        {"class_id": class_id, "site": 0, "channel": channel, "category_awareness": float(value)}
        for class_id, values in AWARENESS.items()
        for channel, value in enumerate(values)
    ]
    frame = pd.DataFrame(rows).assign(estimator=estimator, inert=False, latent_awareness=np.nan)
    frame["latent_awareness_robust"] = frame.channel.astype(float)
    frame["activation_probability"] = 0.5
    frame["expected_activation"] = frame.category_awareness**2
    return frame


def masking_table():
    statistics = awareness_table()
    frame = statistics[["class_id", "site", "category_awareness"]].assign(
        channels=[[channel] for channel in statistics.channel],
        group=statistics.category_awareness.astype(int) - 1,
        score_change=-statistics.category_awareness,
        score_change_abs=statistics.category_awareness,
        log_score_change=statistics.category_awareness,
        log_score_change_abs=statistics.category_awareness,
        screened_score_change=np.nan,
        screened_score_change_abs=np.nan,
    )
    return frame.drop(columns="category_awareness")


@pytest.fixture
def rankings():
    return class_rankings(channel_statistics(awareness_table()), masking_table())


def test_sampled_values_stand_beside_the_closed_form():
    sampled = awareness_table("monte_carlo").assign(category_awareness=7.0, latent_awareness=3.0)
    both = channel_statistics(pd.concat([awareness_table(), sampled]))
    assert len(both) == 3 * N_CHANNELS
    assert set(both.category_awareness_sampled) == {7.0}
    assert set(both.latent_ranking) == {3.0}
    assert sorted(both.category_awareness.unique()) == [1, 2, 3, 4, 5, 6]
    alone = channel_statistics(awareness_table())
    assert alone.category_awareness_sampled.isna().all()
    assert (alone.latent_ranking == alone.latent_awareness_robust).all()


def test_overlaps_by_hand(rankings):
    rows = pd.DataFrame(class_overlap_rows(rankings, [2, 4]))
    assert set(rows.k) == {2}  # four of six channels say nothing
    found = rows[(rows.site == 0)].set_index(["criterion", "class_a", "class_b"]).overlap
    assert found["category_highest", 0, 1] == 1
    assert found["category_highest", 0, 2] == 0
    assert found["category_lowest", 0, 1] == 0
    assert found["category_lowest", 1, 2] == 0
    assert found["masking_highest", 0, 1] == 1
    assert found["latent_highest", 0, 2] == 1
    assert (rows.overlap_by_chance == 2 / N_CHANNELS).all()


def test_sharing_and_popularity_by_hand(rankings):
    shared = pd.DataFrame(shared_channel_rows(rankings, [2, 6])).set_index(["criterion", "k"]).shared
    assert shared["category_highest", 2] == 0
    assert shared["latent_highest", 2] == 2
    assert shared["category_highest", 6] == 6
    firsts = pd.DataFrame(popularity_rows(rankings)).set_index(["criterion", "channel"]).n_classes
    assert firsts["category_highest", 0] == 2
    assert firsts["category_highest", 5] == 1
    assert firsts["latent_highest", 5] == 3


def test_inert_channels_and_incomplete_classes_are_left_out():
    statistics = channel_statistics(awareness_table())
    statistics.loc[statistics.channel == 0, "inert"] = True
    masking = masking_table().query("class_id != 2")
    rankings = {(one.criterion, one.site): one for one in class_rankings(statistics, masking)}
    assert rankings["category_highest", 0].values.shape == (3, N_CHANNELS - 1)
    assert rankings["category_highest", 0].channels.tolist() == [1, 2, 3, 4, 5]
    assert rankings["masking_highest", 0].class_ids == (0, 1)


def test_correlations_by_hand():
    spec = AuditSpec(permutations=50)
    rows = pd.DataFrame(masking_correlation_rows(channel_statistics(awareness_table()), masking_table(), spec))
    assert set(rows.predictor) == {"category_awareness", "activation_probability", "expected_activation"}
    found = rows[rows.class_id == 1].set_index(["predictor", "target"])
    assert found.spearman["category_awareness", "score_change"] == pytest.approx(-1)
    assert found.spearman["expected_activation", "score_change_abs"] == pytest.approx(1)
    assert found.pearson["category_awareness", "log_score_change"] == pytest.approx(1)
    assert np.isnan(found.spearman["activation_probability", "score_change"])
    assert (rows.n_groups == N_CHANNELS).all()


def test_screening_is_one_more_predictor():
    masking = masking_table().assign(screened_score_change=lambda frame: frame.score_change)
    rows = pd.DataFrame(
        masking_correlation_rows(channel_statistics(awareness_table()), masking, AuditSpec(permutations=50))
    )
    screened = rows[rows.predictor == "screening"]
    assert set(screened.target) == {"score_change", "log_score_change"}
    assert screened[screened.target == "score_change"].spearman.tolist() == pytest.approx([1, 1, 1])


def test_metric_correlations_by_hand():
    metrics = pd.DataFrame({"total_awareness": [1.0, 2, 3, 4], "fid": [4.0, 3, 2, 1], "recall": [1.0, 2, 3, 4]})
    for name in ("precision", "density", "coverage", "kid", "ms_ssim", "classifier_accuracy"):
        metrics[name] = np.nan
    rows = {row["metric"]: row for row in metric_correlation_rows(metrics, AuditSpec(bootstraps=50))}
    assert set(rows) == {"fid", "recall"}
    assert rows["fid"]["pearson"] == pytest.approx(-1)
    assert rows["recall"]["ci_low"] == pytest.approx(1)
