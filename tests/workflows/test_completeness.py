"""How many classes are complete, by what is recorded."""

from cawa_core.tables import Manifest, Receipt
from cawa_core.tables.audit_record import AnalysisRecord, AuditRecord, RecordedIdentity
from workflows.folders.completeness import complete_classes, hide_partial_classes, missing_classes


def recorded(tmp_path, units):
    """A manifest with one shard per analysis, classes and units."""
    manifest = Manifest(tmp_path)
    for stage, class_ids, sites in units:
        name = f"{stage} {class_ids} {sites}"
        all_units = tuple((site,) for site in sites) or ((),)
        manifest.receipts[name] = Receipt(name, stage, class_ids, sites, (), 0.0, "cpu", units=all_units)
    return manifest


def record_of(**analyses):
    spec = {"classes": [1, 2, 3]}
    return AuditRecord("audit", RecordedIdentity(spec, {}, {}, 1), {}, {}, "cpu", analyses)


BY_SITE = AnalysisRecord("hash", {}, (1, 2, 3), n_units=6)
WHOLE = AnalysisRecord("hash", {}, (1, 2), n_units=2)


def test_a_class_is_complete_with_all_its_units_in_every_analysis_that_covers_it(tmp_path):
    manifest = recorded(
        tmp_path, [("masking", (1, 2), (0,)), ("masking", (1, 3), (1,)), ("edits", (1,), ()), ("sites", (), ())]
    )
    assert missing_classes(manifest, record_of(masking=BY_SITE, edits=WHOLE)) == {
        "classes_complete": 1,
        "classes": 3,
        "stages": {
            "masking": {"classes_complete": 1, "classes": 3},
            "edits": {"classes_complete": 1, "classes": 2},
        },
    }
    hide_partial_classes(manifest, record_of(masking=BY_SITE, edits=WHOLE))
    assert manifest.hidden == frozenset()  # a shard of class 1, which is complete, may have others


def test_nothing_is_missing_of_a_complete_folder(tmp_path):
    manifest = recorded(tmp_path, [("masking", (1, 2, 3), (0, 1)), ("edits", (1, 2), ())])
    assert missing_classes(manifest, record_of(masking=BY_SITE, edits=WHOLE)) is None


def test_partial_classes_are_hidden_unless_shards_have_failed(tmp_path):
    manifest = recorded(tmp_path, [("masking", (1,), (0, 1)), ("masking", (2,), (0,)), ("masking", (3,), (1,))])
    hide_partial_classes(manifest, record_of(masking=BY_SITE))
    assert manifest.hidden == {"masking (2,) (0,)", "masking (3,) (1,)"}
    manifest.quarantined["masking (2,) (1,)"] = "RuntimeError"
    hide_partial_classes(manifest, record_of(masking=BY_SITE))
    assert manifest.hidden == frozenset()


def test_classes_with_different_numbers_of_units(tmp_path):
    """Five units of three classes: one with as many as any other counts, and all do in the end."""
    uneven = AnalysisRecord("hash", {}, (1, 2, 3), n_units=5)
    manifest = recorded(tmp_path, [("masking", (1,), (0, 1)), ("masking", (2,), (0,))])
    assert complete_classes(manifest, "masking", uneven) == {1}
    manifest = recorded(tmp_path, [("masking", (1, 2), (0, 1)), ("masking", (3,), (0,))])
    assert complete_classes(manifest, "masking", uneven) == {1, 2, 3}
