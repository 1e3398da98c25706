"""Derived tables against pandas on whole tables, and by hand where tables are small enough."""

import dataclasses
import json
import shutil

import numpy as np
import pandas as pd
import pytest

from cawa_core.class_metrics.records import METRICS
from cawa_core.rendering.claims import NOTE
from cawa_core.tables import Manifest, Receipt, publish
from cawa_core.tables.schema import ALL_SITES, TABLES
from cawa_core.worlds.factors import known_factors
from cawa_core.worlds.scenes.vocabulary import BUILDINGS
from tests.reference.pandas_aggregation import best_estimates, pandas_tables
from tests.workflows.written_audits import rewrite
from workflows.analyses import ANALYSES
from workflows.analyses.awareness.results import heavy_tails
from workflows.analyses.class_overlap import derivation as class_overlap
from workflows.analyses.class_overlap.claims import factor_claims
from workflows.analyses.class_overlap.derivation import EverySite
from workflows.analyses.class_overlap.results import factor_table
from workflows.analyses.class_overlap.summary import factor_summary, overlap_summary
from workflows.analyses.metric_correlation.derivation import metric_correlation_rows
from workflows.options.audit import audit_spec
from workflows.results import aggregate, is_current
from workflows.results.derive import derivable, derive, derived_stages
from workflows.results.rankings import Ranking
from workflows.results.report import write_report

SPEC = audit_spec(permutations=99, overlap_k=(3, 7), shared_k=(1, 2, 5, 10))
WIDTHS = (60, 24, 9)
N_CHANNELS = 6
AWARENESS = {0: [6, 5, 4, 3, 2, 1], 1: [6, 5, 1, 2, 3, 4], 2: [1, 2, 3, 4, 5, 6]}
FLOATS = [name for name, (kind, _) in TABLES["awareness"].columns.items() if str(kind) == "float"]


def test_top_channels_of_all_sites_are_more_than_the_widest_site_has():
    random = np.random.default_rng(0)
    values = random.normal(size=(3, 4, 8))  # classes, sites, channels
    everywhere, ids = EverySite(20), np.arange(3)
    for site in range(4):
        own, order = values[:, site], np.argsort(-values[:, site], axis=1)
        everywhere.add([Ranking(site, "c", 8, ids, order, np.take_along_axis(own, order, axis=1))], 8)
    (found,) = everywhere.rankings()
    np.testing.assert_array_equal(found.top, np.argsort(-values.reshape(3, 32), axis=1)[:, :20])


def awareness_frame(class_ids, widths, random, estimator="closed_form"):
    """Random rows; a few columns of few values, so that ranks tie."""
    rows = [(c, s, channel) for c in class_ids for s, width in enumerate(widths) for channel in range(width)]
    frame = pd.DataFrame(rows, columns=["class_id", "site", "channel"])
    values = {name: random.normal(size=len(frame)).astype(np.float32) for name in FLOATS}
    frame = frame.assign(**values, inert=False, estimator=estimator, n_samples=100)
    frame["gain_sign_probability"] = (random.random(len(frame)) ** 9).astype(np.float32)
    frame["expected_activation"] = frame.expected_activation.round(1)
    if estimator == "closed_form":
        frame[["category_awareness_stderr", "latent_awareness"]] = np.nan
    return frame


def masking_frame(awareness, group_size, random):
    """Exact groups of every class and site of an awareness table, in the order of its category awareness."""
    rows = []
    for (class_id, site), part in best_estimates(awareness).query("~inert").groupby(["class_id", "site"]):
        order = part.sort_values("category_awareness").channel.tolist()
        groups = [order[start : start + group_size] for start in range(0, len(order), group_size)]
        rows += [
            {"class_id": class_id, "site": site, "group": group, "channels": channels}
            for group, channels in enumerate(groups)
        ]
    frame = pd.DataFrame(rows)
    for name, (kind, _) in TABLES["masking"].columns.items():
        if name not in frame:
            number = random.normal(size=len(frame)).astype(np.float32)
            frame[name] = "exact" if str(kind) == "string" else number if str(kind) == "float" else 7
    frame["score_change_abs"] = frame.score_change.abs()
    return frame.assign(screened_score_change=np.nan, screened_score_change_abs=np.nan)


def aggregated(folder, awareness, masking, spec=SPEC):
    """The derived tables of these stage tables, a shard a site and half of the classes."""
    manifest = Manifest.read(folder)
    for stage, frame in {"awareness": awareness, "masking": masking}.items():
        if frame is None:
            continue
        halves = frame.class_id % 2
        for (site, half), part in frame.groupby([frame.site, halves]):
            shard = f"{stage}-{site}-{half}"
            files = publish(folder, shard, {stage: {name: list(part[name]) for name in part}}, "audit")
            class_ids = tuple(sorted(set(part.class_id.tolist())))
            manifest.add(Receipt(shard, stage, class_ids, (int(site),), files, 0, "cpu"))
    derive(manifest, spec, "audit")
    return manifest


def require_equal(manifest, awareness, masking, spec=SPEC):
    """All tables: keys and counts exactly, correlations to float32. Rounding may put a permutation on the other side of
    the observed r: of the p-values one in a hundred may be off, by one permutation."""
    none = TABLES["masking"].schema.empty_table().to_pandas()
    expected = pandas_tables(awareness, none if masking is None else masking, spec)
    for name, frame in expected.items():
        found = manifest.table(name)
        assert len(found) == len(frame), name
        if not len(frame):
            continue
        key = list(TABLES[name].key)
        frame = frame.sort_values(key, ignore_index=True)[list(found.columns)]
        for column in found:
            if column in key or found[column].dtype.kind in "iu":
                assert found[column].tolist() == frame[column].tolist(), f"{name}.{column}"
            else:
                a, b = (table[column].to_numpy(dtype=np.float64) for table in (found, frame))
                one = 1.01 / (1 + spec.permutations) if column == "p_value" else 0
                np.testing.assert_allclose(a, b, atol=2e-5 + one, err_msg=f"{name}.{column}")
                assert np.nanmean(np.abs(a - b) > 2e-5) <= 0.01, f"{name}.{column}"


def variations():
    """Name => stage tables; each breaks a different assumption."""
    random = np.random.default_rng(0)
    ids = (0, 3, 4, 7, 11)
    plain = awareness_frame(ids, WIDTHS, random)
    masks = masking_frame(plain, 1, random)
    inert = plain.assign(inert=(plain.channel % 5 == 0) & (plain.site < 2))
    sampled = awareness_frame(ids, WIDTHS, random, "monte_carlo")
    some = sampled[sampled.class_id.isin([0, 11])]
    unknown = plain.copy()
    unknown.loc[random.random(len(plain)) < 0.02, "category_awareness"] = np.nan
    unknown.loc[(unknown.class_id == 4) & (unknown.site == 1), "expected_activation"] = np.nan
    gaps = masks.copy()
    gaps.loc[random.random(len(gaps)) < 0.1, ["score_change", "score_change_abs"]] = np.nan
    gaps.loc[gaps.site == 1, "log_score_change"] = 0.25
    screened = masks.assign(screened_score_change=masks.score_change, screened_score_change_abs=masks.group % 3)
    few = masks[(masks.class_id != 3) & ((masks.site != 2) | (masks.class_id == 7))]
    mixed = pd.concat([plain[plain.site != 1], sampled[sampled.site != 2]], ignore_index=True)
    return {
        "one channel a mask": (plain, masks),
        "no masking": (plain, None),
        "groups of five": (plain, masking_frame(plain, 5, random)),
        "groups of five, inert channels": (inert, masking_frame(inert, 5, random)),
        "inert channels that were masked": (inert, masks),
        "unknown predictors": (unknown, masks),
        "unknown and constant effects": (plain, gaps),
        "screened": (plain, screened),
        "classes and sites without masking": (plain, few),
        "sampled alone": (sampled, masks),
        "both estimators": (pd.concat([plain, sampled], ignore_index=True), masks),
        "some classes sampled": (pd.concat([plain, some], ignore_index=True), masks),
        "a site each without an estimator": (mixed, masks),
        "a class missing at a site": (plain[(plain.class_id != 4) | (plain.site != 0)], masks),
        "one class": (plain[plain.class_id == 4], masks[masks.class_id == 4]),
    }


VARIATIONS = variations()


@pytest.mark.parametrize("name", VARIATIONS)
def test_derived_tables_equal_those_of_pandas(tmp_path, name):
    awareness, masking = VARIATIONS[name]
    require_equal(aggregated(tmp_path, awareness, masking), awareness, masking)


def test_a_wrong_value_would_be_seen(tmp_path):
    awareness, masking = VARIATIONS["one channel a mask"]
    manifest = aggregated(tmp_path, awareness, masking)
    with pytest.raises(AssertionError):
        require_equal(manifest, awareness, masking.assign(score_change=masking.score_change.iloc[::-1].to_numpy()))
    with pytest.raises(AssertionError):
        require_equal(manifest, awareness, masking, dataclasses.replace(SPEC, seed=1))


def test_shards_and_their_order_change_nothing(tmp_path):
    awareness, masking = VARIATIONS["both estimators"]
    one = aggregated(tmp_path / "one", awareness, masking)
    shuffled = [frame.sample(frac=1, random_state=0, ignore_index=True) for frame in (awareness, masking)]
    other = aggregated(tmp_path / "other", *shuffled)
    for name in ("masking_correlation", "class_overlap", "shared_channels", "top_channel_popularity"):
        pd.testing.assert_frame_equal(one.table(name), other.table(name))


def test_a_class_has_the_same_null_whatever_others_are_there(tmp_path):
    awareness, masking = VARIATIONS["groups of five"]
    whole = aggregated(tmp_path / "whole", awareness, masking).table("masking_correlation")
    part = aggregated(tmp_path / "part", *(frame[frame.class_id != 0] for frame in (awareness, masking)))
    found, expected = part.table("masking_correlation"), whole[whole.class_id != 0].reset_index(drop=True)
    np.testing.assert_allclose(found.null_std, expected.null_std, atol=1e-6)
    np.testing.assert_allclose(found.p_value, expected.p_value, atol=1e-6)


def test_a_failure_of_a_writer_is_not_lost(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(class_overlap, "publish_groups", full)
    with pytest.raises(OSError, match="No space"):
        aggregated(tmp_path, *VARIATIONS["no masking"])
    assert "class_overlap" not in Manifest.read(tmp_path).receipts


def test_heavy_tails_equal_those_of_pandas(tmp_path):
    awareness, _ = VARIATIONS["some classes sampled"]
    awareness = awareness.assign(gain_sign_probability=awareness.gain_sign_probability.astype(np.float32) ** 4)
    found = heavy_tails(aggregated(tmp_path, awareness, None))
    best = best_estimates(awareness)
    crossing = np.minimum(best.gain_sign_probability, 1 - best.gain_sign_probability)
    assert found["n_channels_and_classes"] == len(best)
    assert found["share_of_large_sign_probability"] == pytest.approx((crossing > 1e-3).mean())
    assert found["by_site"] == pytest.approx((crossing > 1e-3).groupby(best.site).mean().to_dict())
    exact, sampled = (awareness[awareness.estimator == name] for name in ("closed_form", "monte_carlo"))
    both = exact.merge(sampled, on=["class_id", "site", "channel"], suffixes=("", "_sampled"))
    light = np.minimum(both.gain_sign_probability, 1 - both.gain_sign_probability) < 1e-6
    gap = (both.category_awareness_sampled - both.category_awareness).abs()
    assert light.any()
    assert found["estimator_gap"]["light_tails_largest"] == pytest.approx(gap[light].max())
    errors = (gap / both.category_awareness_stderr_sampled)[light]
    assert found["estimator_gap"]["light_tails_largest_in_stderr"] == pytest.approx(errors.max())


def test_the_overlap_summary_is_of_the_pairs(tmp_path):
    awareness, masking = VARIATIONS["classes and sites without masking"]
    manifest = aggregated(tmp_path, awareness, masking)
    random = np.random.default_rng(0)
    ids = [0, 3, 4, 7, 12]
    centroids = pd.DataFrame({"class_id": ids, "real_centroid": list(random.normal(size=(5, 3)))})
    rows = overlap_summary(manifest, centroids, 200, random)
    means = manifest.table("class_overlap").groupby(["criterion", "site", "k"]).overlap.mean()
    assert [(row["criterion"], row["site"], row["k"]) for row in rows] == list(means.index)
    assert [row["overlap"] for row in rows] == pytest.approx(means.tolist(), abs=1e-6)
    by_site = {(row["criterion"], row["site"], row["k"]): row["similarity_spearman"] for row in rows}
    assert by_site["masking_highest", 0, 3] is None  # three classes with masking and a centroid
    assert np.isfinite(by_site["category_highest", 0, 3])
    without = overlap_summary(manifest, centroids.iloc[:0], 200, random)
    assert all(row["similarity_p"] is None for row in without)


FACTORS = known_factors("scenes")


def awareness_by_building():
    """Random awareness of all 30 classes, in which classes with the same building have the same ten top channels."""
    awareness = awareness_frame(range(30), WIDTHS, np.random.default_rng(0))
    buildings = np.array([list(BUILDINGS).index(building) for building in FACTORS["building"]])
    is_of_building = awareness.channel // 10 == buildings[awareness.class_id]
    return awareness.assign(category_awareness=awareness.category_awareness + 20 * is_of_building)


def test_classes_that_share_a_planted_factor_share_channels(tmp_path):
    spec = dataclasses.replace(SPEC, overlap_k=(3, 10))
    manifest = aggregated(tmp_path, awareness_by_building(), None, spec)
    rows = factor_summary(manifest, FACTORS, 200, np.random.default_rng(0))
    at_first_site = {
        row["factor"]: row for row in rows if (row["criterion"], row["site"], row["k"]) == ("category_highest", 0, 10)
    }
    assert {name: row["n_pairs"] for name, row in at_first_site.items()} == {
        "building": 75,
        "place": 60,
        "neither": 300,
    }
    assert {name: row["overlap"] for name, row in at_first_site.items()} == {"building": 1, "place": 0, "neither": 0}
    assert at_first_site["building"]["spearman"] == pytest.approx(1)
    assert at_first_site["building"]["p"] == pytest.approx(1 / 201)
    assert at_first_site["place"]["spearman"] < 0
    assert at_first_site["place"]["p"] > 0.5
    assert at_first_site["neither"]["p"] is None
    largest = max(row["k"] for row in rows if row["site"] == ALL_SITES)
    verdicts = {claim.claim: claim.verdict for claim in factor_claims(rows)}
    assert (largest, verdicts["Classes that share the building share channels."]) == (10, "holds")
    assert verdicts["Classes that share the place share channels."] == "does not hold"
    table = factor_table(rows)
    assert table.caption == "Overlap of classes that share the building, the place, neither"
    assert [row[1].text for row in table.rows if row[0].text == "highest category awareness"] == ["all", "0", "1", "2"]


def test_factors_that_no_pair_shares_are_not_tested(tmp_path):
    awareness = awareness_by_building()
    manifest = aggregated(tmp_path, awareness[awareness.class_id.isin([0, 1, 2, 3])], None)
    rows = [row for row in factor_summary(manifest, FACTORS, 200, np.random.default_rng(0)) if row["factor"] == "place"]
    assert all((row["n_pairs"], row["overlap"]) == (0, None) for row in rows)
    assert all(np.isnan(row["p"]) for row in rows)


def awareness_by_hand(estimator="closed_form"):
    rows = [
        {"class_id": class_id, "site": 0, "channel": channel, "category_awareness": float(value)}
        for class_id, values in AWARENESS.items()
        for channel, value in enumerate(values)
    ]
    frame = pd.DataFrame(rows).assign(estimator=estimator, inert=False, n_samples=0)
    frame = frame.assign(**dict.fromkeys(set(FLOATS) - {"category_awareness"}, np.nan))
    frame["latent_awareness_robust"] = frame.channel.astype(float)
    frame["activation_probability"] = 0.5
    frame["expected_activation"] = frame.category_awareness**2
    return frame


def masking_by_hand():
    awareness = awareness_by_hand()
    frame = masking_frame(awareness, 1, np.random.default_rng(0)).sort_values(["class_id", "group"])
    value = frame.group.to_numpy() + 1.0
    return frame.assign(score_change=-value, score_change_abs=value, log_score_change=value, log_score_change_abs=value)


@pytest.fixture
def by_hand(tmp_path):
    return aggregated(tmp_path, awareness_by_hand(), masking_by_hand(), dataclasses.replace(SPEC, overlap_k=(2, 4)))


def test_overlaps_by_hand(by_hand):
    rows = by_hand.table("class_overlap")
    assert set(rows.k) == {2}  # four of six channels say nothing
    for site in (0, ALL_SITES):
        found = rows[(rows.site == site)].set_index(["criterion", "class_a", "class_b"]).overlap
        assert found["category_highest", 0, 1] == 1
        assert found["category_highest", 0, 2] == 0
        assert found["category_lowest", 0, 1] == 0
        assert found["category_lowest", 1, 2] == 0
        assert found["masking_highest", 0, 1] == 1
        assert found["latent_highest", 0, 2] == 1
    assert rows.overlap_by_chance.tolist() == pytest.approx([2 / N_CHANNELS] * len(rows))


def test_sharing_and_popularity_by_hand(by_hand):
    shared = by_hand.table("shared_channels").set_index(["criterion", "k"]).shared
    assert shared["category_highest", 2] == 0
    assert shared["latent_highest", 2] == 2
    assert ("latent_highest", 10) not in shared
    popular = by_hand.table("top_channel_popularity").set_index(["k", "criterion", "channel"]).n_classes
    assert popular[1, "category_highest", 0] == 2
    assert popular[1, "category_highest", 5] == 1
    assert popular[1, "latent_highest", 5] == 3
    assert popular[2]["category_highest"].to_dict() == {0: 2, 1: 2, 4: 1, 5: 1}
    assert popular[2]["latent_highest"].to_dict() == {4: 3, 5: 3}
    halves = by_hand.table("shared_channels").set_index(["criterion", "k"])
    assert halves.in_half["category_highest", 2] == 2
    assert halves.in_half_by_chance["category_highest", 2] == pytest.approx(
        6 * (3 * (1 / 3) ** 2 * (2 / 3) + (1 / 3) ** 3)
    )


def test_correlations_by_hand(by_hand):
    rows = by_hand.table("masking_correlation")
    assert set(rows.predictor) == {"category_awareness", "activation_probability", "expected_activation"}
    found = rows[rows.class_id == 1].set_index(["predictor", "target"])
    assert found.spearman["category_awareness", "score_change"] == pytest.approx(-1)
    assert found.spearman["expected_activation", "score_change_abs"] == pytest.approx(1)
    assert found.pearson["category_awareness", "log_score_change"] == pytest.approx(1)
    assert np.isnan(found.spearman["activation_probability", "score_change"])
    assert (rows.n_groups == N_CHANNELS).all()


def test_metric_correlations_by_hand():
    metrics = pd.DataFrame({"total_awareness": [1.0, 2, 3, 4], "fid": [4.0, 3, 2, 1], "recall": [1.0, 2, 3, 4]})
    metrics["class_id"] = range(4)
    for name in ("precision", "density", "coverage", "kid", "ms_ssim", "classifier_accuracy"):
        metrics[name] = np.nan
    rows = {row["metric"]: row for row in metric_correlation_rows(metrics, audit_spec(bootstraps=50))}
    assert set(rows) == {"fid", "recall"}
    assert rows["fid"]["pearson"] == pytest.approx(-1)
    assert rows["recall"]["ci_low"] == pytest.approx(1)
    assert (rows["recall"]["robust_spearman"], rows["recall"]["verdict"]) == (pytest.approx(1), "open")
    assert rows["recall"]["robust_p"] == pytest.approx(2 / 24, abs=0.05)  # the p-value of all permutations


def test_three_outliers_do_not_decide_and_are_named():
    """Classes 5, 50 and 77 of 100 are far away in both quantities; the others are unrelated."""
    random = np.random.default_rng(3)
    names = ["total_awareness", *(metric.name for metric in METRICS)]
    metrics = pd.DataFrame({name: random.normal(size=100) for name in names}).assign(class_id=np.arange(100) + 1000)
    planted = [5, 50, 77]
    spec = audit_spec(bootstraps=200)
    metrics.loc[planted, ["total_awareness", "precision", "ms_ssim"]] += 9
    rows = {row["metric"]: row for row in metric_correlation_rows(metrics, spec)}
    without = {row["metric"]: row for row in metric_correlation_rows(metrics.drop(planted), spec)}
    row = rows["precision"]
    assert row["pearson"] > 0.5 > 0.2 > abs(row["pearson_without"])
    assert set(row["influential"]) == set(row["outliers"]) == {1005, 1050, 1077}
    for name in ("robust_spearman", "robust_ci_low", "robust_p", "verdict"):
        assert {metric: rows[metric][name] for metric in rows} == {metric: without[metric][name] for metric in rows}
    assert rows["density"]["verdict"] is None


def test_intervals_do_not_depend_on_the_order_of_the_metrics(monkeypatch):
    from workflows.analyses.metric_correlation import derivation

    random = np.random.default_rng(0)
    names = ["total_awareness", *(metric.name for metric in derivation.METRICS)]
    metrics = pd.DataFrame({name: random.normal(size=12) for name in names}).assign(class_id=range(12))
    spec = audit_spec(bootstraps=50)
    forwards = {row["metric"]: row for row in metric_correlation_rows(metrics, spec)}
    monkeypatch.setattr(derivation, "METRICS", derivation.METRICS[::-1])
    assert {row["metric"]: row for row in metric_correlation_rows(metrics, spec)} == forwards


def test_only_what_has_its_inputs_is_derived_and_each_has_a_receipt(tmp_path):
    awareness, masking = VARIATIONS["one channel a mask"]
    without = aggregated(tmp_path / "without", awareness, None)
    assert derived_stages(without) == {"class_overlap", "shared_channels"}
    with_masks = aggregated(tmp_path / "with", awareness, masking)
    assert derived_stages(with_masks) == {"masking_correlation", "class_overlap", "shared_channels"}
    assert [analysis.name for analysis in derivable(with_masks)] == [
        name for name in ANALYSES if name in derived_stages(with_masks)
    ]
    tables = {file.table for file in with_masks.receipts["shared_channels"].files}
    assert tables == {"shared_channels", "top_channel_popularity"}


def test_derived_tables_of_earlier_versions_are_replaced(tmp_path):
    """They had one receipt for all of them."""
    manifest = aggregated(tmp_path, *VARIATIONS["one channel a mask"])
    files = [file for name in derived_stages(manifest) for file in manifest.receipts.pop(name).files]
    manifest.add(Receipt("aggregate", "aggregate", (), (), tuple(files), 0, "driver"))
    before = {name: manifest.table(name) for name in ("masking_correlation", "class_overlap", "shared_channels")}
    derive(manifest, SPEC, "audit")
    manifest.settle()
    again = Manifest.read(tmp_path)
    assert "aggregate" not in again.receipts
    assert not again.strays()
    for name, frame in before.items():
        pd.testing.assert_frame_equal(again.table(name), frame)


@pytest.fixture
def copied(audited, tmp_path):
    """A finished small audit to change."""
    return shutil.copytree(audited, tmp_path / "copy")


def test_a_folder_is_not_current_if_other_analyses_are_derived(copied, monkeypatch):
    assert is_current(Manifest.read(copied))
    few = dict(ANALYSES)
    del few["shared_channels"]
    monkeypatch.setattr(ANALYSES, "_analyses", few)
    assert not is_current(Manifest.read(copied))
    aggregate(Manifest.read(copied))
    assert is_current(Manifest.read(copied))
    assert "shared_channels" not in Manifest.read(copied).receipts


def test_an_analysis_that_is_not_installed_is_left_alone(copied):
    """Its shards, options and tables are recorded; nothing here knows what they mean."""
    manifest = Manifest.read(copied)
    edited = next(receipt.files[0] for receipt in manifest.receipts.values() if receipt.stage == "edits")
    name = "tables/tomography/part-tomography-c0001-0001-01234567.parquet"
    manifest.storage.write(name, manifest.storage.read(edited.file))
    file = dataclasses.replace(edited, table="tomography", file=name)
    manifest.add(Receipt("tomography-c0001-0001", "tomography", (1,), (), (file,), 2.5, "cpu"))
    manifest.settle()

    def dissect(record):
        record["identity"]["spec"] |= {"tomography_latents": 7}
        record["identity"]["spec"]["stages"].append("tomography")
        covered = {"options": {"tomography_latents": 7}, "class_ids": [1], "n_units": 1}
        record["analyses"]["tomography"] = record["analyses"]["edits"] | covered

    rewrite(copied / "audit.json", dissect)
    before = json.loads((copied / "summary.json").read_text())
    assert not is_current(manifest)
    aggregate(manifest)
    write_report(manifest)
    assert is_current(Manifest.read(copied))
    assert "tomography-c0001-0001" in Manifest.read(copied).receipts
    assert (copied / name).exists()
    after = json.loads((copied / "summary.json").read_text())
    assert after["seconds"]["tomography"] == 2.5
    changing = ("digest", "seconds", "tables_digest", "options_digest")
    assert {key: value for key, value in after.items() if key not in changing} == {
        key: value for key, value in before.items() if key not in changing
    }


def test_claims_come_in_the_order_of_the_analyses_and_notes_last(audited):
    claims = json.loads((audited / "summary.json").read_text())["findings"]
    is_note = [claim["verdict"] == NOTE for claim in claims]
    assert is_note == sorted(is_note)
    sources = [claim["source"] for claim in claims if claim["verdict"] != NOTE]
    assert sources.index("Fig. 3") < sources.index("Sec. 4.1, Fig. 5a") < sources.index("Sec. 5.4, Fig. 10")
