import dataclasses

import pytest
from cawa_core.specs import OPTIONS, REPORT, STAGES

from cawa_core.errors import InputError
from cawa_core.options import require_members, validated
from workflows.identity import AuditIdentity
from workflows.lab_spec import ROLES, SUBJECT
from workflows.spec import COVERAGE, AuditSpec


def test_defaults_are_valid_and_survive_the_round_trip():
    assert validated(AuditSpec, AuditSpec().as_data()) == AuditSpec()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sed": 1}, r"unknown option 'sed'; did you mean 'seed'\?"),
        ({"seed": "one"}, r"seed: .*integer.*; got 'one'"),
        ({"seed": 1.5}, "seed: .*integer"),
        ({"seed": True}, "seed: .*integer"),
        ({"seed": -1}, "seed: .*greater than or equal to 0"),
        ({"masking_latents": 1}, "masking_latents: .*greater than or equal to 2"),
        ({"control_fraction": 1.2}, "control_fraction: .*less than or equal to 1"),
        ({"overlap_k": [0]}, "overlap_k: .*greater than or equal to 1"),
        ({"classes": "cat"}, "classes: .*array"),
    ],
)
def test_bad_values_give_one_clear_line(values, message):
    with pytest.raises(InputError, match=message) as caught:
        validated(AuditSpec, values)
    assert "\n" not in str(caught.value)


def test_stage_names_are_checked():
    require_members("stages", ("a",), ("a", "b"))
    for wrong in ((), ("a", "a"), ("c",)):
        with pytest.raises(InputError, match="stages must"):
            require_members("stages", wrong, ("a", "b"))


ROLES_FILLED = {"generator": "g", "evaluator": "e", "real_images": "r"}


def identity_of(spec=None, **changes):
    spec = spec or AuditSpec(classes=(0, 1))
    values = {"digests": ROLES_FILLED, "protocols": {"evaluator": "p"}, "class_digests": {0: "a", 1: "b"}}
    return AuditIdentity(spec, **(values | {"schema_version": 1} | changes))


def test_every_option_is_of_the_subject_a_role_the_coverage_an_analysis_or_the_report():
    of_analyses = {name for names in OPTIONS.values() for name in names}
    groups = (SUBJECT, ROLES, COVERAGE, REPORT, of_analyses)
    assert sorted(name for group in groups for name in group) == sorted(
        field.name for field in dataclasses.fields(AuditSpec)
    )
    assert set(OPTIONS) == set(STAGES)


def test_the_hash_of_the_subject_follows_what_a_folder_fixes_and_nothing_else():
    base = identity_of().hash
    for changes in (
        {"seed": 1},
        {"truncation": 0.5},
        {"dtype": "bfloat16"},
        {"compile": True},
        {"generator": "biggan"},
    ):
        assert identity_of(dataclasses.replace(AuditSpec(classes=(0, 1)), **changes)).hash != base
    assert identity_of(digests=ROLES_FILLED | {"generator": "h"}).hash != base
    assert identity_of(schema_version=2).hash != base
    for changes in ({"classes": (5,)}, {"stages": ("awareness",)}, {"masking_latents": 8}, {"permutations": 30}):
        assert identity_of(dataclasses.replace(AuditSpec(classes=(0, 1)), **changes)).hash == base
    assert identity_of(digests={"generator": "g"}, protocols={}, class_digests={}).hash == base


def test_the_hash_of_an_analysis_follows_its_options_and_the_networks_it_uses():
    def hashes(**changes):
        identity = identity_of(**changes)
        return {stage: identity.analysis_hash(stage) for stage in STAGES}

    def changed(**changes):
        return {stage for stage, value in hashes(**changes).items() if value != base[stage]}

    base, spec = hashes(), AuditSpec(classes=(0, 1))
    for stage, names in OPTIONS.items():
        for name in names:
            value = getattr(spec, name)
            other = (
                "exact" if name == "masking_estimator" else ("closed_form",) if name == "awareness_estimators" else None
            )
            other = other or (
                value * 3 + (1,)
                if isinstance(value, tuple)
                else value * 0.5
                if name.endswith("fraction")
                else value + 1
            )
            assert stage in changed(spec=dataclasses.replace(spec, **{name: other})), name
    assert changed(spec=dataclasses.replace(spec, masking_latents=8)) == {"masking"}
    assert changed(spec=dataclasses.replace(spec, classes=(4, 5))) == set()
    assert changed(digests=ROLES_FILLED | {"evaluator": "f"}) == set(STAGES) - {"awareness", "segmentation"}
    assert changed(digests={"generator": "g", "evaluator": "e"}) == {"class_metrics", "hybrids"}
    assert changed(class_digests={0: "z"}) == set()
    sampled = dataclasses.replace(spec, awareness_samples=99)
    assert changed(spec=sampled) == {"awareness"}
    assert changed(spec=sampled, samples_order=True) == set(STAGES)
