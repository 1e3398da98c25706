"""A fuzz test with a fixed seed: damaged weights are refused in one line, or give exactly the original tensors."""

import io
import json
import random
import struct
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from cawa_core.digests import digest_of_tensors
from cawa_core.errors import InputError
from cawa_core.generators.biggan.generator import load_biggan
from cawa_core.generators.request import GeneratorRequest
from cawa_core.weights import WeightStore, load_tensors
from tests.cawa_core.weights.damage import (
    GIB,
    archive_of,
    bombs,
    canaries,
    claimed_tensor,
    flipped,
    records_of,
    safetensors_of,
    saved,
    value_range,
    with_pickle,
)

SEED = 20_170
SECONDS_PER_FILE = 20
"""Bound of one file; the slowest takes 2 s on an idle core."""
GOLDEN = Path(__file__).parents[1] / "generators" / "golden" / "biggan_plain.safetensors"
Case = tuple[str, bytes]
"""Suffix and content of a file."""


def original() -> dict[str, Tensor]:
    """The checkpoint of a tiny BigGAN."""
    tensors = load_file(GOLDEN)
    return {
        name.removeprefix("checkpoint/"): value for name, value in tensors.items() if name.startswith("checkpoint/")
    }


def changed(**changes: object) -> dict[str, Tensor]:
    tensors = original() | {name.replace("__", "."): value for name, value in changes.items()}
    return {name: value for name, value in tensors.items() if value is not None}


def bit_flips(rng: random.Random) -> Iterator[Case]:
    content = saved(original())
    start, end = value_range(content)
    for _ in range(20):
        yield ".pth", flipped(content, rng, start, end)
    for _ in range(40):
        yield ".pth", flipped(content, rng)


def cuts(rng: random.Random) -> Iterator[Case]:
    for content in (saved(original()), saved(original(), legacy=True), safetensors_bytes(original())):
        suffix = ".safetensors" if content[8:9] == b"{" else ".pth"
        for _ in range(6):
            yield suffix, content[: rng.randrange(len(content))]
        yield suffix, content + b"\0" * 100
        yield suffix, b"\0" * 64 + content


def records(rng: random.Random) -> Iterator[Case]:
    whole = records_of(saved(original()))
    values = [name for name in whole if "/data/" in name]
    for name in rng.sample(values, 8):
        yield ".pth", archive_of(whole | {name: whole[name][:-8]})
        yield ".pth", archive_of(whole | {name: whole[name] + b"\0" * 8})
        yield ".pth", archive_of({other: content for other, content in whole.items() if other != name})
    yield ".pth", archive_of(whole, zipfile.ZIP_DEFLATED)
    yield ".pth", archive_of(whole | {values[0]: b"\0" * (GIB // 8)}, zipfile.ZIP_DEFLATED)
    yield (
        ".pth",
        archive_of(
            {name.replace("byteorder", "x"): content for name, content in whole.items()} | {"archive/byteorder": b"big"}
        ),
    )
    yield ".pth", archive_of(whole | {"other/data.pkl": b"N."})
    yield ".pth", archive_of(whole | {next(name for name in whole if name.endswith("byteorder")): b"big"})
    yield ".pth", archive_of({})


def directories(rng: random.Random) -> Iterator[Case]:
    """Damage of the directory at the end of an archive: positions, sizes, names, checksums."""
    content = saved(original())
    start = content.index(b"PK\x01\x02")
    for _ in range(12):
        yield ".pth", flipped(content, rng, start)
    for field, value in ((16, b"\0" * 4), (20, b"\xff" * 8), (24, struct.pack("<I", 2**31)), (42, b"\x01\0\0\0")):
        for entry in (start, content.rindex(b"PK\x01\x02")):
            yield ".pth", content[: entry + field] + value + content[entry + field + len(value) :]
    unchecked = io.BytesIO()
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(original(), unchecked)
    finally:
        torch.serialization.set_crc32_options(True)
    yield ".pth", unchecked.getvalue()


def forms(rng: random.Random) -> Iterator[Case]:
    tensors = original()
    for name in rng.sample(sorted(tensors), 6):
        yield ".pth", saved(changed(**{name: None}))
        yield ".pth", saved(changed(**{name: tensors[name][None]}))
        yield ".pth", saved(changed(**{name: tensors[name].flatten()[:0]}))
        yield ".safetensors", safetensors_bytes(changed(**{name: tensors[name].to(torch.int32)}))
    yield ".pth", saved(changed(shared__weight=torch.zeros(1, 1).expand(10**7, 10)))
    yield ".pth", saved(changed(linear__weight=torch.zeros(1).expand(16 * 400_000, 10)))
    yield ".pth", saved(changed(linear__weight=torch.zeros(256 * 10)[: 4 * 10].as_strided((256, 10), (1, 1))))
    yield ".pth", saved(changed(extra=torch.zeros(2, 2).to_sparse()))
    yield ".pth", saved(changed(extra=torch.zeros(3)))
    yield ".safetensors", safetensors_bytes(changed(extra=torch.zeros(3)))
    for shape, strides, count, offset in (
        ((10**9, 32), (0, 0), 4, 0),
        ((4,), (1,), 6 * GIB, 0),
        ((4,), (1,), 4, 2**60),
        ((2, 2), (2**62, 1), 4, 0),
        ((0, 2**62), (1, 1), 4, 0),
        ((2**62, 2**62), (1, 1), 4, 0),
        ((4,), (-1,), 4, 3),
    ):
        yield ".pth", claimed_tensor(shape, strides, count, offset)


def values(rng: random.Random) -> Iterator[Case]:
    """Values that no network has."""
    tensors = original()
    for name in (*rng.sample(sorted(name for name in tensors if ".sv" not in name), 6), "blocks.0.0.bn1.stored_var"):
        for value in (float("nan"), float("-inf")):
            damaged = tensors[name].clone()
            damaged.view(-1)[0] = value
            yield ".pth", saved(changed(**{name: damaged}))
    for name in ("blocks.1.0.bn2.stored_var", "output_layer.0.stored_var"):
        yield ".safetensors", safetensors_bytes(changed(**{name: -tensors[name]}))
    yield ".pth", saved(changed(linear__weight=torch.zeros_like(tensors["linear.weight"])))
    yield (
        ".pth",
        saved(changed(blocks__0__0__conv1__weight=1e-45 * torch.ones_like(tensors["blocks.0.0.conv1.weight"]))),
    )


def pickles(rng: random.Random) -> Iterator[Case]:
    """Storages of other types, code, and programs that only cost time."""
    content = saved(original())
    pickled = next(value for name, value in records_of(content).items() if name.endswith("data.pkl"))
    for kind in (b"DoubleStorage", b"HalfStorage", b"IntStorage", b"QInt8Storage", b"NoStorage"):
        yield ".pth", with_pickle(content, pickled.replace(b"FloatStorage", kind))
    for program in bombs():
        yield ".pth", with_pickle(content, program)
    for cut in rng.sample(range(len(pickled)), 10):
        yield ".pth", with_pickle(content, pickled[:cut])
    for name in (b"requires_grad\n", b""):
        yield ".pth", name
    legacy = saved(original(), legacy=True)
    for position, value in ((2, b"\x8a\x0a" + b"x" * 10), (0, b"\x80\x02]."), (len(legacy) - 9, b"")):
        yield ".pth", legacy[:position] + value + legacy[position + len(value) + 1 :]


def headers(rng: random.Random) -> Iterator[Case]:
    """Headers of ``.safetensors`` files that claim what the file does not hold."""
    content = safetensors_bytes(original())
    size = struct.unpack("<Q", content[:8])[0]
    header, data = json.loads(content[8 : 8 + size]), content[8 + size :]
    first = min(header, key=lambda name: header[name]["data_offsets"][0] if name != "__metadata__" else 2**60)
    for entry in (
        {"dtype": "F64"},
        {"dtype": "F99"},
        {"shape": [2**62, 2**62]},
        {"shape": [-1]},
        {"data_offsets": [8, 4]},
        {"data_offsets": [0, 6 * GIB]},
        {"data_offsets": [4, header[first]["data_offsets"][1] + 4]},
    ):
        yield ".safetensors", safetensors_of(header | {first: header[first] | entry}, data)
    for claimed in (0, 7, size - 1, size + 1, 6 * GIB, 2**63):
        yield ".safetensors", content[:0] + safetensors_of(content[8 : 8 + size], data, claimed)
    for broken in (b"{", b"[]", b"null", b'{"a": 1}', b"\xff" * 20, b"[" * 100_000):
        yield ".safetensors", safetensors_of(broken, data)
    for settings in (
        "[]",
        "{",
        '{"batch_norm_eps": -1}',
        '{"colour": 1}',
        '{"cross_replica_gain": "both"}',
        '["a"]',
        r'{"batch_norm_eps": "\ud800"}',
    ):
        yield ".safetensors", safetensors_bytes(original(), {"cawa.training_flags": settings})
    for _ in range(6):
        yield ".safetensors", flipped(content, rng, 0, 8 + size)


KINDS = (bit_flips, cuts, records, directories, forms, values, pickles, headers)


def digest_after_loading(path: Path) -> str:
    """Digest of all tensors of the generator that a file gives."""
    generator = load_biggan(GeneratorRequest("biggan", WeightStore({"biggan": str(path)})))
    return digest_of_tensors(generator.state_dict())


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("whole") / "G.pth"
    path.write_bytes(saved(original()))
    return digest_after_loading(path)


def peak_memory() -> int:
    """Largest resident size of this process since :func:`reset_peak`, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def reset_peak() -> int:
    """Forget the largest resident size, and return the current one."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak_memory()


@pytest.mark.filterwarnings("ignore:Validating sparse tensor")
@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files_are_refused_or_read_exactly(tmp_path, expected, kind):
    rng = random.Random(f"{SEED} {kind.__name__}")
    accepted = 0
    for number, (suffix, content) in enumerate(kind(rng)):
        path = tmp_path / f"{number}{suffix}"
        path.write_bytes(content)
        before = reset_peak()
        start = time.monotonic()
        try:
            assert digest_after_loading(path) == expected, f"{path} was accepted with other tensors"
            accepted += 1
        except InputError as error:
            assert "\n" not in str(error) and len(str(error)) < 1_000
            assert "fetched again" not in str(error)
            assert str(path) in str(error)
        assert time.monotonic() - start < SECONDS_PER_FILE
        assert peak_memory() - before < 200 * 2**20, f"{path} took too much memory"
    assert accepted < number / 2, "most of these files must be refused"


def test_no_code_is_run(tmp_path):
    trace = tmp_path / "trace"
    for number, program in enumerate(canaries(trace)):
        for content in (program, with_pickle(saved(original()), program)):
            path = tmp_path / f"{number}.pth"
            path.write_bytes(content)
            with pytest.raises(InputError):
                digest_after_loading(path)
    assert not trace.exists()


def test_a_sparse_file_of_six_gigabytes_is_not_read(tmp_path):
    path = tmp_path / "large.safetensors"
    header = {"shared.weight": {"dtype": "F32", "shape": [6 * GIB // 4], "data_offsets": [0, 6 * GIB]}}
    path.write_bytes(safetensors_of(header))
    with path.open("ab") as file:
        file.truncate(file.tell() + 6 * GIB)
    before = reset_peak()
    with pytest.raises(InputError, match=r"tensor '.*' is missing|must hold the generator"):
        digest_after_loading(path)
    assert peak_memory() - before < 200 * 2**20


def test_values_that_are_not_used_stay_in_the_file(tmp_path):
    path = tmp_path / "large.pth"
    torch.save({"weight": torch.zeros(2**25)}, path)  # 128 MiB
    before = reset_peak()
    tensors = load_tensors(path)
    assert peak_memory() - before < 2**25
    assert tensors["weight"][-1] == 0
