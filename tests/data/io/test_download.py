import hashlib
import io
import zipfile

import pytest

from tests.helpers.file_server import serve
from visionkit.data.io.download import download, file_names
from visionkit.errors import ConfigError, DataError


def archive(**members):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, text in members.items():
            opened.writestr(name, text)
    return content.getvalue()


ARCHIVE = archive(**{"inner/a.txt": "hello"})


def test_a_card_is_fetched_verified_and_unpacked(tmp_path):
    with serve(**{"data.zip": ARCHIVE}) as server:
        digest = hashlib.sha256(ARCHIVE).hexdigest()
        download([{"url": f"{server.address}/data.zip", "sha256": digest, "extract_to": "."}], tmp_path)
    assert (tmp_path / "inner" / "a.txt").read_text() == "hello"


@pytest.mark.parametrize("folder", ["../../up", "..", "/tmp/up", "a/../../up", "link/up"])
def test_a_card_does_not_write_outside_its_root(folder, tmp_path):
    root = tmp_path / "inner" / "root"
    root.mkdir(parents=True)
    (root / "link").symlink_to(tmp_path)
    with (
        serve(**{"data.zip": ARCHIVE}) as server,
        pytest.raises(ConfigError, match=r"extract_to .* is outside data\.root"),
    ):
        download([{"url": f"{server.address}/data.zip", "extract_to": folder}], root)
    assert [path.name for path in root.iterdir()] == ["link"]
    assert not server.asked


ENTRIES = {
    "needs a url": {"sha256": "0" * 64},
    "unknown key 'md5'; known: url": {"url": "http://a.b/c", "md5": "0"},
    "sha256 is 'abc'": {"url": "http://a.b/c", "sha256": "abc"},
    "extracted_bytes is 'many'": {"url": "http://a.b/c", "extracted_bytes": "many"},
    "extracted_bytes is 0": {"url": "http://a.b/c", "extracted_bytes": 0},
    "are texts": {"url": 3},
    "cannot be downloaded: an address begins with": {"url": "file:///etc/passwd"},
}


@pytest.mark.parametrize("message", ENTRIES)
def test_wrong_entries_are_refused_before_anything_is_fetched(message, tmp_path):
    with serve(**{"data.zip": ARCHIVE}) as server, pytest.raises(ConfigError, match=message):
        download([{"url": f"{server.address}/data.zip"}, ENTRIES[message]], tmp_path)
    assert not server.asked


@pytest.mark.parametrize(
    "content", [ARCHIVE[:-30], b"no archive", b"<html>Log in</html>"], ids=["truncated", "text", "login_page"]
)
def test_a_broken_archive_without_checksum_is_removed_and_can_be_fetched_again(content, tmp_path):
    with serve(**{"data.zip": content}) as server:
        entry = {"url": f"{server.address}/data.zip", "extract_to": "."}
        with pytest.raises(DataError, match="removed"):
            download([entry], tmp_path)
        assert not list(tmp_path.iterdir())
    with serve(**{"data.zip": ARCHIVE}) as server:
        download([{**entry, "url": f"{server.address}/data.zip"}], tmp_path)
    assert (tmp_path / "inner" / "a.txt").read_text() == "hello"


def test_the_card_allows_a_larger_archive(tmp_path):
    with serve(**{"data.zip": archive(zeros=bytes(1_000_000))}) as server:
        entry = {"url": f"{server.address}/data.zip", "extract_to": ".", "extracted_bytes": 1000}
        with pytest.raises(DataError, match="set extracted_bytes"):
            download([entry], tmp_path)
        assert (tmp_path / "data.zip").is_file()
        download([{**entry, "extracted_bytes": 1_000_000}], tmp_path)
    assert (tmp_path / "zeros").stat().st_size == 1_000_000


def test_files_are_named_by_their_addresses():
    names = {
        "http://a.b/data.zip": "data.zip",
        "http://a.b/c/data.zip#part": "data-2.zip",
        "http://a.b/my%20photos.zip": "my_photos.zip",
        "http://a.b/..%2f..%2fetc%2fpasswd": "passwd",
        "http://a.b/get?file=../../x.zip&a=1": "get_file_.._.._x.zip_a_1",
        "http://a.b/get?file=y.zip": "get_file_y.zip",
        "http://a.b/.bashrc": "bashrc",
        "http://a.b/..": "download",
        "http://a.b": "download-2",
        "http://a.b/" + "x" * 300: "x" * 150,
    }
    assert file_names(list(names)) == list(names.values())
