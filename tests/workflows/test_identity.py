"""Hashes that name an audit and its analyses: what they follow, and what they do not."""

import dataclasses

import pyarrow as pa

from workflows.analyses import ANALYSES
from workflows.analyses.awareness import AWARENESS_TABLE
from workflows.folders.identity import AuditIdentity
from workflows.options.audit import audit_spec

ROLES_FILLED = {"generator": "g", "evaluator": "e", "real_images": "r"}


def identity(spec=None, **changes):
    spec = spec or audit_spec(classes=(0, 1))
    values = {"digests": ROLES_FILLED, "protocols": {"evaluator": "p"}, "class_digests": {0: "a", 1: "b"}}
    return AuditIdentity(spec, **(values | {"schema_version": 1} | changes))


def test_the_hash_of_the_subject_follows_what_a_folder_fixes_and_nothing_else():
    base = identity().hash
    for changes in (
        {"seed": 1},
        {"truncation": 0.5},
        {"dtype": "bfloat16"},
        {"compile": True},
        {"generator": "biggan"},
    ):
        assert identity(dataclasses.replace(audit_spec(classes=(0, 1)), **changes)).hash != base
    assert identity(digests=ROLES_FILLED | {"generator": "h"}).hash != base
    assert identity(schema_version=2).hash != base
    for changes in ({"classes": (5,)}, {"stages": ("awareness",)}, {"masking_latents": 8}, {"permutations": 30}):
        assert identity(dataclasses.replace(audit_spec(classes=(0, 1)), **changes)).hash == base
    assert identity(digests={"generator": "g"}, protocols={}, class_digests={}).hash == base


def test_the_hash_of_an_analysis_follows_its_options_and_the_networks_it_uses():
    computed = set(ANALYSES.computed)

    def hashes(**changes):
        changed_identity = identity(**changes)
        return {name: changed_identity.analysis_hash(name) for name in computed}

    def changed(**changes):
        return {name for name, value in hashes(**changes).items() if value != base[name]}

    base, spec = hashes(), audit_spec(classes=(0, 1))
    for analysis in (ANALYSES[name] for name in computed):
        for name in analysis.option_names:
            value = getattr(spec, name)
            others = {
                "masking_estimator": "exact",
                "awareness_estimators": ("closed_form",),
                "dissection_thresholds": "quantile",
                "stroke_way": "site_latents",
                "latent_concepts": ("class",),
            }
            other = others.get(name) or (
                value * 3 + (1,)
                if isinstance(value, tuple)
                else value * 0.5
                if name.endswith("fraction")
                else value + 1
            )
            assert analysis.name in changed(spec=dataclasses.replace(spec, **{name: other})), name
    assert changed(spec=dataclasses.replace(spec, masking_latents=8)) == {"masking"}
    assert changed(spec=dataclasses.replace(spec, classes=(4, 5))) == set()
    assert changed(digests=ROLES_FILLED | {"evaluator": "f"}) == computed - {
        "awareness",
        "segmentation",
        "dissection",
        "concept_effects",
        "semantics",
        "layouts",
    }
    of_real_images = {"class_metrics", "hybrids", "artifact_units", "layouts", "directions"}
    assert changed(digests={"generator": "g", "evaluator": "e"}) == of_real_images
    of_pixels = {"segmentation", "hybrids", "dissection", "concept_effects", "artifact_units", "semantics", "layouts"}
    of_pixels |= {"latents", "directions"}
    assert changed(digests=ROLES_FILLED | {"segmenter": "s"}) == of_pixels
    assert changed(class_digests={0: "z"}) == set()
    sampled = dataclasses.replace(spec, awareness_samples=99)
    assert changed(spec=sampled) == {"awareness"}
    assert changed(spec=sampled, samples_order=True) == computed


def test_the_hash_of_an_analysis_follows_what_it_is_after_and_the_columns_of_its_tables(monkeypatch):
    def hashes(spec=None):
        return {name: identity(spec).analysis_hash(name) for name in ("awareness", "masking", "masking_correlation")}

    base = hashes()
    other = hashes(audit_spec(classes=(0, 1), masking_latents=8))
    assert [name for name in base if other[name] != base[name]] == ["masking", "masking_correlation"]
    monkeypatch.setitem(AWARENESS_TABLE.columns, "new", (pa.int32(), "a new column"))
    other = hashes()
    assert [name for name in base if other[name] != base[name]] == ["awareness", "masking_correlation"]
