import hashlib
import io
import tarfile
import threading
import zipfile
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from visionkit.data.io.download import download, extract, fetch
from visionkit.errors import DataError

CONTENT = bytes(range(256)) * 5000


class Handler(BaseHTTPRequestHandler):
    """Serves `files` with ranges; a path /cut/... stops after half of the requested bytes."""

    def __init__(self, files, asked, *args):
        self.files, self.asked = files, asked
        super().__init__(*args)

    def do_GET(self):
        body = self.files.get(self.path.rsplit("/", 1)[-1])
        if body is None:
            self.send_error(404)
            return
        wanted = self.headers.get("Range")
        self.asked.append(wanted)
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        self.send_response(206 if wanted else 200)
        part = body[start:]
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part[: len(part) // 2] if self.path.startswith("/cut") else part)

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("inner/a.txt", "hello")
    files, asked = {"data.bin": CONTENT, "data.zip": archive.getvalue()}, []
    running = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, files, asked))
    threading.Thread(target=running.serve_forever, daemon=True).start()
    running.address = f"http://127.0.0.1:{running.server_port}"
    running.asked, running.files = asked, files
    yield running
    running.shutdown()


def digest(body):
    return hashlib.sha256(body).hexdigest()


def test_an_interrupted_download_goes_on_where_it_stopped(server, tmp_path):
    target = tmp_path / "data.bin"
    with pytest.raises(DataError, match="run the same command again to resume"):
        fetch(f"{server.address}/cut/data.bin", target)
    assert not target.exists()
    fetch(f"{server.address}/data.bin", target, digest(CONTENT))
    assert target.read_bytes() == CONTENT
    assert server.asked == [None, f"bytes={len(CONTENT) // 2}-"]


def test_a_wrong_checksum_removes_the_file(server, tmp_path):
    message = rf"wrong sha256 and was removed\nexpected {'0' * 64}\nactual   {digest(CONTENT)}"
    with pytest.raises(DataError, match=message):
        fetch(f"{server.address}/data.bin", tmp_path / "data.bin", "0" * 64)
    assert not list(tmp_path.iterdir())


def test_a_missing_checksum_is_said(server, tmp_path, caplog):
    fetch(f"{server.address}/data.bin", tmp_path / "data.bin")
    assert "not verified" in caplog.text
    assert digest(CONTENT) in caplog.text


def test_a_card_is_fetched_verified_and_unpacked(server, tmp_path):
    entry = {"url": f"{server.address}/data.zip", "sha256": digest(server.files["data.zip"]), "extract_to": "."}
    download([entry], tmp_path)
    assert (tmp_path / "inner" / "a.txt").read_text() == "hello"


def test_a_server_without_the_file_is_named(server, tmp_path):
    with pytest.raises(DataError, match="404"):
        fetch(f"{server.address}/other.bin", tmp_path / "other.bin")


def evil_zip(path):
    with zipfile.ZipFile(path, "w") as opened:
        opened.writestr("../evil.txt", "x")


def evil_tar(path):
    with tarfile.open(path, "w") as opened:
        member = tarfile.TarInfo("../../evil.txt")
        member.size = 1
        opened.addfile(member, io.BytesIO(b"x"))


def linking_tar(path):
    with tarfile.open(path, "w") as opened:
        member = tarfile.TarInfo("link")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc"
        opened.addfile(member)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (evil_zip, r"member '\.\./evil\.txt' would be written outside"),
        (evil_tar, r"member '\.\./\.\./evil\.txt' would be written outside"),
        (linking_tar, "member 'link' is a link or a device"),
    ],
)
def test_archives_that_would_write_elsewhere_are_refused(make, reason, tmp_path):
    archive, folder = tmp_path / "archive", tmp_path / "inner" / "folder"
    make(archive)
    with pytest.raises(DataError, match=f"archive is unsafe: its {reason}"):
        extract(archive, folder)
    assert not list(folder.iterdir())


def test_what_is_no_archive_is_refused(tmp_path):
    (tmp_path / "a.zip").write_text("no archive")
    with pytest.raises(DataError, match="neither a zip nor a tar"):
        extract(tmp_path / "a.zip", tmp_path / "out")
