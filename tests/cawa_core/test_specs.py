import dataclasses

import pytest

from cawa_core.errors import InputError
from cawa_core.specs import AuditIdentity, AuditSpec, require_members, validated


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


def test_the_hash_follows_every_field():
    identity = AuditIdentity(AuditSpec(), {"generator": "g"}, {"evaluator": "p"}, 1)
    changes = {"spec": AuditSpec(seed=1), "digests": {"generator": "h"}, "protocols": {"evaluator": "q"}}
    assert {field.name for field in dataclasses.fields(identity)} == {*changes, "schema_version"}
    hashes = {dataclasses.replace(identity, **{name: changed}).hash for name, changed in changes.items()}
    assert len(hashes | {identity.hash, dataclasses.replace(identity, schema_version=2).hash}) == 5
    assert AuditIdentity(AuditSpec(), {"generator": "g"}, {"evaluator": "p"}, 1).hash == identity.hash
