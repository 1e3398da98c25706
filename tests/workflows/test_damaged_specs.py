"""Damaged ``audit.toml`` files, at random with a fixed seed: one line that stays short, and nothing written."""

import json
import random

import pytest

from tests.damaged_folders import cawa, contents

GOOD = {
    "generator": "fashion-biggan",
    "classes": [1, "bag"],
    "stages": ["awareness", "class_metrics"],
    "seed": 1,
    "truncation": 0.5,
    "dtype": "float32",
    "metric_samples": 20,
    "neighbours": 2,
    "ms_ssim_samples": 4,
    "overlap_k": [10],
    "real_images": "fashion-mnist-test",
    "offline": True,
}
ODD = (
    *('""', '"x"', json.dumps("x" * 5000), "-1", "0", "1.5", "1e308", "nan", "inf", "true", "9" * 5000, "2020-01-01"),
    *("[]", "[[]]", "{}", "[1, 1]", "[true]", "[" * 3000, '["all"]', json.dumps(["9" * 6000])),
    *(json.dumps(list(range(999))), json.dumps(["bag"] * 999)),
    *("2", "20", "0.5", "false", '["awareness"]', '["bag"]', "[1]", "[2, 3]") * 3,
    *('"../x"', '"a\\u0000b"', '"all"', '"no.such:factory"'),
)


def damaged_spec(rng):
    """Return the text of a spec with one or two damages: odd values, unknown keys, bytes changed, a cut."""
    lines = {key: f"{key} = {json.dumps(value)}" for key, value in GOOD.items()}
    for _ in range(rng.randint(1, 2)):
        key = rng.choice(sorted(lines))
        odd = [f"{key} = {rng.choice(ODD)}" for _ in range(8)]
        lines[key] = rng.choice((*odd, f"{key}_ = 1", f"{lines[key]}\n{lines[key]}", f"[{key}]", "\0"))
    content = "\n".join(lines.values()).encode()
    place = rng.randrange(len(content))
    return rng.choice((*[content] * 6, content[:place], content[:place] + b"\xff" + content[place:]))


@pytest.mark.parametrize("first", range(0, 60, 20))
def test_damaged_specs_end_in_one_line(tmp_path, first):
    spec = tmp_path / "audit.toml"
    for seed in range(first, first + 20):
        content = damaged_spec(random.Random(seed))
        spec.write_bytes(content)
        command = ("plan", "--no-calibrate", "--executor", "inline", "--output", tmp_path / "audit")
        code, _, errors = cawa(*command, "--spec", spec)
        assert code in (0, 2), content[:500]
        if code == 2:
            assert (errors.count("\n"), errors[:6]) == (1, "cawa: "), content[:500]
            assert len(errors) <= 1300, errors
        assert contents(tmp_path) == {"audit.toml": content}
