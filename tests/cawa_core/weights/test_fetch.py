import json
import resource
import subprocess
import sys

import pytest

from cawa_core.digests import digest_of_bytes
from cawa_core.errors import InputError
from cawa_core.weights.fetch import ATTEMPTS, PIECE_BYTES, fetch
from tests.cawa_core.weights.conftest import CONTENT

DIGEST = digest_of_bytes(CONTENT)
CUT = 2 * PIECE_BYTES
"""Where connections are cut: pieces that are not complete do not count."""


@pytest.fixture
def target(tmp_path):
    return tmp_path / "model" / "weights.bin"


def leftovers(target):
    return {path.name for path in target.parent.iterdir()} - {".lock"}


def one_line(caught):
    return "\n" not in str(caught.value)


@pytest.fixture
def broken_off(server, target):
    """A target of which the first bytes have arrived when every attempt was cut off."""
    server.failures = [-CUT] + ATTEMPTS * [503]
    with pytest.raises(InputError, match="4 attempts failed"):
        fetch(server.url, target)
    server.failures.clear()
    server.asked.clear()
    return target


@pytest.mark.parametrize("known", [DIGEST, DIGEST.upper(), DIGEST[:8], None])
def test_a_file_is_fetched_once(server, target, known):
    steps = []
    for _ in range(2):
        fetch(server.url, target, known, lambda *step: steps.append(step))
        assert target.read_bytes() == CONTENT
    assert len(server.asked) == 1
    assert steps[-1] == (len(CONTENT), len(CONTENT))
    assert leftovers(target) <= {"weights.bin", "SHA256.json"}


def test_only_what_is_not_known_beforehand_is_recorded(server, target):
    fetch(server.url, target, DIGEST)
    assert leftovers(target) == {"weights.bin"}
    fetch(server.url, target.with_name("other.bin"), DIGEST[:8])
    assert json.loads((target.parent / "SHA256.json").read_text()) == {"other.bin": DIGEST}


def test_a_cut_connection_is_resumed_by_the_next_attempt(server, target):
    server.failures = [-CUT]
    fetch(server.url, target)
    assert server.ranges == [None, f"bytes={CUT}-"]
    assert target.read_bytes() == CONTENT


def test_a_cut_connection_is_resumed_by_the_next_call(server, broken_off):
    assert fetch(server.url, broken_off).read_bytes() == CONTENT
    assert server.ranges == [f"bytes={CUT}-"]
    assert server.asked[0]["If-Range"] == '"first"'


def test_a_file_that_changed_meanwhile_is_fetched_anew(server, broken_off):
    server.tag, server.content = '"second"', CONTENT[::-1]
    assert fetch(server.url, broken_off).read_bytes() == CONTENT[::-1]
    assert server.ranges == [f"bytes={CUT}-"]


def test_a_server_without_ranges_sends_all_again(server, broken_off):
    server.knows_ranges = False
    assert fetch(server.url, broken_off).read_bytes() == CONTENT


def test_a_beginning_from_another_url_is_not_continued(server, broken_off):
    assert fetch(server.url + "?other", broken_off).read_bytes() == CONTENT
    assert server.ranges == [None]


@pytest.mark.parametrize(("known", "expected"), [(None, None), (DIGEST, f"bytes={CUT}-")])
def test_without_a_validator_only_a_known_digest_lets_resume(server, target, known, expected):
    server.tag, server.failures = None, [-CUT] + ATTEMPTS * [503]
    with pytest.raises(InputError):
        fetch(server.url, target, known)
    server.failures.clear()
    assert fetch(server.url, target, known).read_bytes() == CONTENT
    assert server.ranges[-1] == expected


def test_a_range_from_the_wrong_place_is_not_appended(server, broken_off):
    server.range_offset = 7
    assert fetch(server.url, broken_off).read_bytes() == CONTENT
    assert server.ranges == [f"bytes={CUT}-", None]


def test_a_range_past_the_end_starts_over(server, broken_off):
    server.content = CONTENT[: CUT // 2]
    assert fetch(server.url, broken_off).read_bytes() == CONTENT[: CUT // 2]


def test_a_whole_beginning_is_put_in_place_without_a_request(server, broken_off):
    with broken_off.with_name("weights.bin.part").open("ab") as part:
        part.write(CONTENT[CUT:])
    assert fetch(server.url, broken_off).read_bytes() == CONTENT
    assert server.asked == []


def test_a_truncated_download_is_an_error_and_its_beginning_kept(server, target):
    server.failures = [-CUT, -PIECE_BYTES, -10, -10]
    with pytest.raises(
        InputError, match=rf"weights.bin .*broke off.*{CUT + PIECE_BYTES} bytes are kept.*{server.url} to {target}"
    ) as caught:
        fetch(server.url, target)
    assert one_line(caught)
    assert leftovers(target) == {"weights.bin.part", "weights.bin.part.json"}
    assert fetch(server.url, target).read_bytes() == CONTENT


@pytest.mark.parametrize("known", ["0" * 64, "0cc3c7bd"])
def test_a_wrong_digest_keeps_nothing(server, target, known):
    with pytest.raises(InputError, match=rf"{server.url} must have the published SHA-256 {known[:12]}…; got") as caught:
        fetch(server.url, target, known)
    assert one_line(caught)
    assert leftovers(target) == set()


def test_another_content_than_was_recorded_is_refused(server, target):
    fetch(server.url, target)
    target.unlink()
    server.content = CONTENT[::-1]
    with pytest.raises(InputError, match="must have the recorded SHA-256"):
        fetch(server.url, target)
    assert leftovers(target) == {"SHA256.json"}


def test_missing_files_are_not_asked_for_twice(server, target):
    server.failures = [404]
    with pytest.raises(InputError, match=rf"answered 404 .*download {server.url} to {target} by hand") as caught:
        fetch(server.url, target)
    assert one_line(caught)
    assert len(server.asked) == 1
    assert leftovers(target) == set()


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_passing_failure_of_the_server_is_overcome(server, target, status):
    server.failures = [status, status]
    assert fetch(server.url, target).read_bytes() == CONTENT
    assert len(server.asked) == 3


def test_an_unreachable_server_is_an_error(server, target):
    server.server_close()
    with pytest.raises(InputError, match=r"4 attempts failed.*or give --weights PATH") as caught:
        fetch(server.url, target)
    assert one_line(caught)


def test_a_folder_that_cannot_be_made_is_an_error(server, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot be written: .*set CAWA_CACHE to another folder"):
        fetch(server.url, tmp_path / "file" / "weights.bin")
    assert server.asked == []


@pytest.fixture
def limited_file_size():
    """The system refuses to let files grow, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (CUT, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_file_that_cannot_grow_is_an_error(server, target, limited_file_size):
    with pytest.raises(InputError, match=r"weights.bin cannot be written: File too large; .*or give --weights PATH"):
        fetch(server.url, target)
    assert not target.exists()
    assert len(server.asked) == 1


def test_of_two_processes_one_downloads(server, target):
    server.seconds = 0.3
    code = (
        "import sys, pathlib; from cawa_core.weights.fetch import fetch; fetch(sys.argv[1], pathlib.Path(sys.argv[2]))"
    )
    command = [sys.executable, "-c", code, server.url, str(target)]
    processes = [subprocess.Popen(command) for _ in range(2)]
    assert [process.wait(timeout=60) for process in processes] == [0, 0]
    assert len(server.asked) == 1
    assert target.read_bytes() == CONTENT
