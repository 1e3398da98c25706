"""The command line: bad input gives exit code 2, one clear line, and nothing half-written."""

import json
import shutil
import sys

import pytest
import typer

from cawa_core import assets
from cawa_core.errors import InputError
from cawa_core.storage import open_storage
from cawa_core.weights import known
from workflows import cli


def run(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["cawa", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    return caught.value.code or 0, capsys.readouterr()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--generator", "fashion-bigan"],
            "scenes-biggan or package.module:factory; got 'fashion-bigan'; did you mean 'fashion-biggan'?",
        ),
        (["--classes", "shrit"], "no class is named 'shrit'; did you mean 'shirt'?"),
        (["--classes", "10"], "classes must be in 0..9 or names; got 10"),
        (["--classes", "all,bag"], "classes: no class is named 'all'"),
        (["--stages", "masks"], "stages must be among gallery, awareness, masking"),
        (["--awareness-estimators", "exact"], "awareness_estimators must be among"),
        (["--masking-latents", "0"], "masking_latents: input should be greater than or equal to 2; got 0"),
        (["--executor", "slurm"], "executor: input should be 'ray' or 'inline'; got 'slurm'"),
        (["--device", "cuda:7"], "device 'cuda:7' is not on this machine; use --device cpu"),
        (["--device", "abacus"], "device must be cpu, cuda or cuda:N; got 'abacus'"),
        (["--dtype", "tf32"], "dtype tf32 needs --device cuda, the only kind of device that has it; got cpu"),
        (["--dtype", "tf32", "--executor", "inline"], "dtype tf32 needs --device cuda"),
        (["--stages", "awareness", "--replace", "masking"], "replace must be among awareness; got 'masking'"),
    ],
)
def test_bad_options(monkeypatch, capsys, tmp_path, arguments, message):
    output = tmp_path / "audit"
    code, printed = run(monkeypatch, capsys, "audit", "--output", output, *arguments)
    assert code == 2
    assert message in printed.err
    assert printed.err.count("\n") == 1
    assert not output.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("sed = 1", "unknown option 'sed' in"),
        ('seed = "one"', "seed: input should be a valid integer; got 'one'"),
        ("seed = 1.5", "seed: "),
        ("seed = ", "is not TOML"),
        ("classes = [99]", "classes must be in 0..9"),
    ],
)
def test_bad_spec_files(monkeypatch, capsys, tmp_path, content, message):
    spec, output = tmp_path / "audit.toml", tmp_path / "audit"
    spec.write_text(content)
    code, printed = run(monkeypatch, capsys, "audit", "--spec", spec, "--output", output)
    assert code == 2
    assert message in printed.err
    assert not output.exists()


def test_a_missing_spec_file(monkeypatch, capsys, tmp_path):
    code, printed = run(monkeypatch, capsys, "audit", "--spec", tmp_path / "none.toml")
    assert code == 2
    assert "cannot be read: No such file" in printed.err


def test_output_that_cannot_be_written(monkeypatch, capsys, tmp_path):
    (tmp_path / "file").write_text("here")
    code, printed = run(monkeypatch, capsys, "audit", "--output", tmp_path / "file" / "audit")
    assert code == 2
    assert "cannot be written" in printed.err
    assert (tmp_path / "file").read_text() == "here"


def test_damaged_weights(monkeypatch, capsys, tmp_path):
    for name in assets.recorded_digests():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"not the weights")
    (tmp_path / "SHA256SUMS").write_text((assets.FOLDER / "SHA256SUMS").read_text())
    real = assets.verified
    monkeypatch.setattr(assets, "verified", lambda name: real(name, tmp_path))
    code, printed = run(monkeypatch, capsys, "audit", "--output", tmp_path / "audit")
    assert code == 2
    assert "must have SHA-256" in printed.err
    assert not (tmp_path / "audit").exists()


def test_folders_that_are_not_ours_or_are_taken(monkeypatch, capsys, tmp_path):
    damaged = '{"hash": "a", "identity": {"spec": {}, "digests": {}, "protocols": {}, "schema_version": 5}'
    for content in ("{", "[]", "{}", damaged + "}", damaged + ', "class_names": {}, "versions": {}, "device": "cpu"}'):
        (tmp_path / "audit.json").write_text(content)
        code, printed = run(monkeypatch, capsys, "audit", "--output", tmp_path)
        assert code == 2
        assert "audit.json" in printed.err
        assert (tmp_path / "audit.json").read_text() == content
    first, second = open_storage(tmp_path), open_storage(tmp_path)
    with first.locked(), pytest.raises(InputError, match="another cawa is at work in"), second.locked():
        pass


def test_commands_on_a_folder_that_is_no_audit(monkeypatch, capsys, tmp_path):
    for command in ("status", "aggregate", "report"):
        code, printed = run(monkeypatch, capsys, command, tmp_path)
        assert code == 2
        assert "is no audit folder" in printed.err


def test_commands_on_a_file(monkeypatch, capsys, tmp_path):
    file = tmp_path / "notes.txt"
    file.write_text("mine")
    for arguments in (
        ["status"],
        ["verify"],
        ["verify", "--rebuild"],
        ["aggregate"],
        ["report"],
        ["compare", tmp_path],
    ):
        code, printed = run(monkeypatch, capsys, *arguments, file)
        assert (code, printed.out) == (2, "")
        if arguments[0] != "compare":
            assert f"{file} is a file, and must be a folder; give another path" in printed.err
    assert file.read_text() == "mine"


def test_unknown_flags_and_commands(monkeypatch, capsys):
    for arguments, message in (
        (["audit", "--sed", "1"], "No such option: --sed"),
        (["audit", "--seed", "one"], "Invalid value for '--seed'"),
        (["audit", "--classes", ""], "no class is named ''"),
        (["audit", "--classes=--5"], "no class is named '--5'"),
        (["audit", "--neighbours", "500"], "neighbours must be below half of metric_samples=1000; got 500"),
        (["audit", "--shared-k", "5,5"], "shared_k must be different numbers"),
        (
            ["audit", "--output", "s3://bucket"],
            "must have a bucket and a folder, as s3://bucket/folder; got s3://bucket",
        ),
        (["audit", "--output", "http://host/audit"], "must be a path, or a URL of s3, gs, az; got http://host/audit"),
        (["auditt"], "No such command 'auditt'"),
    ):
        code, printed = run(monkeypatch, capsys, *arguments)
        assert code == 2
        assert message in printed.err
        assert printed.err.count("\n") == 1


def test_models_and_sites(monkeypatch, capsys):
    code, printed = run(monkeypatch, capsys, "models")
    assert code == 0
    assert "biggan-deep-512, fashion-biggan" in printed.out
    assert "inception-v3" in printed.out
    code, printed = run(monkeypatch, capsys, "sites")
    assert code == 0
    assert len(printed.out.splitlines()) == 9
    assert printed.out.splitlines()[-1] == "6 sites, 576 channels, 0 inert"


def test_status_aggregate_and_report_work_from_the_tables(monkeypatch, capsys, audited, tmp_path):
    assert run(monkeypatch, capsys, "status", audited)[0] == 0
    copy = tmp_path / "copy"
    shutil.copytree(audited, copy)
    before = json.loads((copy / "summary.json").read_text())
    (copy / "summary.json").unlink()
    assert run(monkeypatch, capsys, "report", copy)[0] == 2
    assert run(monkeypatch, capsys, "aggregate", copy)[0] == 0
    assert run(monkeypatch, capsys, "report", copy)[0] == 0
    after = json.loads((copy / "summary.json").read_text())
    assert {**after, "seconds": {}} == {**before, "seconds": {}}


def test_every_parameter_of_every_command_has_help():
    commands = typer.main.get_command(cli.app).commands
    assert len(commands) > 10
    for name, command in commands.items():
        for parameter in command.params:
            assert parameter.help, f"{name} {parameter.name}"


def test_classes_are_listed(monkeypatch, capsys):
    code, printed = run(monkeypatch, capsys, "classes")
    assert code == 0
    assert printed.out.splitlines()[6] == "6 shirt"
    code, printed = run(monkeypatch, capsys, "classes", "biggan-deep-512", "--offline")
    assert code == 0
    assert printed.out.splitlines()[207] == "207 n02099601 golden retriever"


def test_fetch_brings_a_model_into_the_cache_once(monkeypatch, capsys, tmp_path):
    from tests.cawa_core.weights.server import serving

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving(b"weights" * 1000) as server:
        monkeypatch.setitem(known.KNOWN, "vgg16", (known.KnownFile("w.pth", server.url),))
        for _ in range(2):
            code, printed = run(monkeypatch, capsys, "fetch", "vgg16", "--cache", tmp_path)
            assert code == 0, printed.err
            assert printed.out == f"vgg16: {tmp_path / 'vgg16' / 'w.pth'}\n"
        assert len(server.asked) == 1
    (tmp_path / "vgg16" / "w.pth").write_bytes(b"changed")
    code, printed = run(monkeypatch, capsys, "fetch", "vgg16", "--cache", tmp_path)
    assert code == 2
    assert "SHA-256" in printed.err
    code, printed = run(monkeypatch, capsys, "fetch", "vgg61")
    assert code == 2
    assert "did you mean 'vgg16'" in printed.err
