import pytest

from cawa_core.storage import StorageRefusedError, open_storage
from cawa_core.storage.names import require_inside
from tests.cawa_core.storage.conftest import PROXIES, remote

OUTSIDE = (
    "../victim.txt",
    "tables/../../victim.txt",
    "/etc/passwd",
    "tables/./x",
    "tables//x",
    "a\\b",
    "a\0b",
    "..",
    ".",
)


@pytest.mark.parametrize("name", ["summary.json", "tables/awareness/part-1.parquet", ".lock", "figures/é.png"])
def test_plain_names_are_taken_as_they_are(name):
    assert require_inside(name) == name


@pytest.mark.parametrize("name", [*OUTSIDE, "", "a\nb", "tables/x/", "x\x7f"])
def test_names_that_lead_elsewhere_are_refused(name):
    with pytest.raises(ValueError, match="is not a plain path inside the folder"):
        require_inside(name)


@pytest.mark.parametrize("name", ["summary.json", "tables_of_mine/x", "tables"])
def test_a_name_must_be_below_the_folder_that_it_is_asked_in(name):
    with pytest.raises(ValueError, match="is not below tables/"):
        require_inside(name, "tables")


@pytest.mark.parametrize("where", ["local", *PROXIES])
def test_no_storage_touches_what_is_outside(request, tmp_path, where):
    victim = tmp_path / "victim.txt"
    victim.write_text("mine")
    if where == "local":
        storage = open_storage(tmp_path / "audit")
    else:
        request.getfixturevalue(PROXIES[where])
        storage = remote(scheme=where)
    storage.write("audit.json", b"{}")
    for name in (*OUTSIDE, str(victim)):
        for method in (storage.read, storage.exists, storage.remove, storage.names):
            with pytest.raises(ValueError, match="is not a plain path"):
                method(name)
        with pytest.raises(ValueError, match="is not a plain path"):
            storage.write(name, b"")
    assert victim.read_text() == "mine"
    assert storage.names() == ["audit.json"]


def test_a_link_that_leads_outside_is_not_followed(tmp_path):
    (tmp_path / "others").mkdir()
    victim = tmp_path / "others" / "victim.txt"
    victim.write_text("mine")
    storage = open_storage(tmp_path / "audit")
    storage.write("tables/a/x", b"")
    (tmp_path / "audit" / "tables" / "link").symlink_to(tmp_path / "others")
    for method in (storage.read, storage.remove, storage.exists):
        with pytest.raises(StorageRefusedError, match=r"tables/link/victim.txt is outside of the audit folder"):
            method("tables/link/victim.txt")
    with pytest.raises(StorageRefusedError, match="outside of the audit folder"):
        storage.write("tables/link/victim.txt", b"")
    assert victim.read_text() == "mine"
    assert storage.names("tables") == ["tables/a/x"]


def test_the_audit_folder_itself_may_be_reached_by_a_link(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "audit").symlink_to(tmp_path / "disk")
    storage = open_storage(tmp_path / "audit")
    storage.write("tables/a/x", b"1")
    assert storage.read("tables/a/x") == b"1"
