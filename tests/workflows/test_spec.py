"""The options of an audit: those of the lab, of the statistics and of every analysis, as one spec."""

import dataclasses
import pickle

import pytest

from cawa_core.errors import InputError
from cawa_core.options import validated
from workflows.analyses import ANALYSES
from workflows.options.audit import (
    COVERAGE,
    AuditSpec,
    StatisticsOptions,
    audit_spec,
    audit_spec_type,
    options_as,
    recorded_spec,
    stages_of,
)
from workflows.options.lab import ROLES, SUBJECT, LabSpec


def test_defaults_are_valid_and_survive_the_round_trip():
    assert validated(audit_spec_type(), audit_spec().as_data()) == audit_spec()


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
        validated(audit_spec_type(), values)
    assert "\n" not in str(caught.value)


def test_stage_names_are_checked():
    assert stages_of(audit_spec(stages=("awareness",))) == ("awareness",)
    for wrong, message in (
        ((), "stages must name each of"),
        (("awareness", "awareness"), "stages must name each of"),
        (("maskings",), "got 'maskings'; did you mean 'masking'"),
        (("shared_channels",), "stages must be among .*got 'shared_channels'"),  # derived, so never asked for
    ):
        with pytest.raises(InputError, match=message):
            stages_of(audit_spec(stages=wrong))


def test_every_option_is_of_the_subject_a_role_the_coverage_an_analysis_or_the_statistics():
    of_analyses = {name for analysis in ANALYSES.values() for name in analysis.option_names}
    of_statistics = {field.name for field in dataclasses.fields(StatisticsOptions)}
    groups = (SUBJECT, ROLES, COVERAGE, of_statistics, of_analyses)
    assert sorted(name for group in groups for name in group) == sorted(
        field.name for field in dataclasses.fields(audit_spec_type())
    )


def test_a_spec_has_the_options_of_every_analysis_with_their_defaults():
    spec = audit_spec()
    assert all(isinstance(spec, kind) for kind in (AuditSpec, LabSpec, StatisticsOptions))
    for analysis in ANALYSES.values():
        defaults = analysis.options()
        options = options_as(analysis.options, spec) if analysis.option_names else defaults
        assert dataclasses.asdict(defaults).items() <= dataclasses.asdict(options).items()
    assert spec.stages == ANALYSES.by_default


def test_a_spec_travels_to_other_processes():
    spec = audit_spec(classes=(1, 8), masking_latents=9, edit_scored_latents=3)
    assert pickle.loads(pickle.dumps(spec)) == spec
    assert dataclasses.replace(pickle.loads(pickle.dumps(spec)), seed=4).masking_latents == 9


def test_a_recorded_spec_leaves_out_what_is_not_installed():
    recorded = audit_spec(masking_latents=9).as_data() | {"colours": 3, "stages": ["awareness", "colours"]}
    assert recorded_spec(recorded) == audit_spec(masking_latents=9, stages=("awareness",))
    with pytest.raises(InputError, match=r"masking_latents: .*greater than or equal to 2; got 1"):
        recorded_spec(recorded | {"masking_latents": 1})
