import pytest

from cawa_core import assets
from cawa_core.errors import InputError
from cawa_core.real_images.idx import read_idx


def test_every_bundled_file_has_its_digest():
    names = set(assets.recorded_digests())
    assert {"fashion_biggan.safetensors", "fashion_cnn.safetensors"} <= names
    for name in names:
        assert assets.verified(name).exists()


def test_changed_or_missing_files_are_refused(tmp_path):
    (tmp_path / "SHA256SUMS").write_text("0" * 64 + "  weights\n")
    with pytest.raises(InputError, match="is missing; install the package again"):
        assets.verified("weights", tmp_path)
    (tmp_path / "weights").write_bytes(b"changed")
    with pytest.raises(InputError, match=r"must have SHA-256 000000000000…; got"):
        assets.verified("weights", tmp_path)


def test_idx_files_are_checked(tmp_path):
    import gzip

    path = tmp_path / "images.gz"
    path.write_bytes(gzip.compress(bytes([0, 0, 8, 1, 0, 0, 0, 3, 1, 2])))
    with pytest.raises(ValueError, match="announces 3 values and holds 2"):
        read_idx(path)
    path.write_bytes(gzip.compress(bytes([0, 0, 13, 1, 0, 0, 0, 0])))
    with pytest.raises(ValueError, match="must be an IDX file of unsigned bytes"):
        read_idx(path)
    path.write_bytes(gzip.compress(bytes([0, 0, 8, 1, 0, 0, 0, 2, 7, 9])))
    assert read_idx(path).tolist() == [7, 9]
