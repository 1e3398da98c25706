import dataclasses

import pytest

from cawa_core.errors import InputError
from cawa_core.specs import AuditIdentity, AuditSpec, require_members, resolve_classes, validated

NAMES = ("cat", "dog", "bus")


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


def test_classes_by_index_and_name():
    assert resolve_classes((), NAMES) == (0, 1, 2)
    assert resolve_classes(("bus", 0), NAMES) == (0, 2)
    assert resolve_classes(("2",), NAMES) == (2,)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((3,), r"classes must be in 0\.\.2 or names; got 3"),
        ((-1,), r"classes must be in 0\.\.2"),
        (("dgo",), "no class is named 'dgo'; did you mean 'dog'"),
        (("dog", 1), "each be given once"),
    ],
)
def test_unknown_classes(given, message):
    with pytest.raises(InputError, match=message):
        resolve_classes(given, NAMES)


def test_stage_names_are_checked():
    require_members("stages", ("a",), ("a", "b"))
    for wrong in ((), ("a", "a"), ("c",)):
        with pytest.raises(InputError, match="stages must"):
            require_members("stages", wrong, ("a", "b"))


def test_the_hash_follows_every_field():
    identity = AuditIdentity(AuditSpec(), "g", "e", "p", "r", 1)
    hashes = {identity.hash}
    for field in dataclasses.fields(identity):
        changed = AuditSpec(seed=1) if field.name == "spec" else 2 if field.name == "schema_version" else "other"
        hashes.add(dataclasses.replace(identity, **{field.name: changed}).hash)
    assert len(hashes) == 1 + len(dataclasses.fields(identity))
    assert AuditIdentity(AuditSpec(), "g", "e", "p", "r", 1).hash == identity.hash
