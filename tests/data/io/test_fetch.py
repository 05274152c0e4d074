"""Downloads from a server that misbehaves in every way a test can script."""

import hashlib
import socket
import threading
import time

import pytest

from tests.helpers.file_server import file, serve
from visionkit.data.io import fetch as module
from visionkit.data.io.fetch import fetch
from visionkit.errors import ConfigError, DataError

CONTENT = bytes(range(256)) * 5000
HALF = len(CONTENT) // 2
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def half(tmp_path):
    """The first half of a download, and the file to download to."""
    (tmp_path / "data.bin.part").write_bytes(CONTENT[:HALF])
    return tmp_path / "data.bin"


def cut(handler):
    handler.answer(CONTENT[:HALF], Content_Length=len(CONTENT))


def test_an_interrupted_download_goes_on_where_it_stopped(tmp_path):
    target = tmp_path / "data.bin"
    with serve(cut=cut, data=CONTENT) as server:
        with pytest.raises(DataError, match="run the same command again"):
            fetch(f"{server.address}/cut", target)
        assert not target.exists()
        fetch(f"{server.address}/data", target, DIGEST)
        assert target.read_bytes() == CONTENT
        assert server.asked == [("/cut", None), ("/data", f"bytes={HALF}-")]


def wrong_offset(handler):
    """Continue somewhere else than asked, as some caches do."""
    if handler.headers.get("Range"):
        handler.answer(CONTENT[10:], 206, Content_Range=f"bytes 10-{len(CONTENT) - 1}/{len(CONTENT)}")
    else:
        handler.answer(CONTENT)


def no_offset(handler):
    handler.answer(
        CONTENT[HALF:] if handler.headers.get("Range") else CONTENT, 206 if handler.headers["Range"] else 200
    )


def whole(handler):
    handler.answer(CONTENT)


def refused(handler):
    if handler.headers.get("Range"):
        handler.answer(b"", 416)
    else:
        handler.answer(CONTENT)


@pytest.mark.parametrize("answer", [CONTENT, wrong_offset, no_offset, whole, refused])
@pytest.mark.parametrize("present", [CONTENT[:HALF], CONTENT, CONTENT + b"more", b"x" * 10 * len(CONTENT)])
def test_what_cannot_be_continued_starts_anew(answer, present, tmp_path):
    if answer is CONTENT and present == b"x" * 10 * len(CONTENT):
        present = b"x" * (len(CONTENT) + 1)
    (tmp_path / "data.bin.part").write_bytes(present)
    with serve(data=answer) as server:
        fetch(f"{server.address}/data", tmp_path / "data.bin", DIGEST)
    assert (tmp_path / "data.bin").read_bytes() == CONTENT
    assert not (tmp_path / "data.bin.part").exists()


OTHER = bytes(reversed(CONTENT))
"""Another version of the file, of the same length."""

DATES = ("Wed, 21 Oct 2015 07:28:00 GMT", "Thu, 22 Oct 2015 07:28:00 GMT")
VERSIONS = {"ETag": ('"one"', '"two"'), "Last_Modified": DATES}


def interrupted(server, target, content, **version):
    """Download the first half of a version of the file."""
    server.answers["/data"] = lambda handler: handler.answer(content[:HALF], Content_Length=len(content), **version)
    with pytest.raises(DataError, match="run the same command again"):
        fetch(f"{server.address}/data", target)
    assert target.with_name("data.bin.part").read_bytes() == content[:HALF]


@pytest.mark.parametrize("header", VERSIONS)
def test_a_file_that_has_changed_is_not_joined_from_two_versions(header, tmp_path):
    old, new = VERSIONS[header]
    with serve() as server:
        interrupted(server, tmp_path / "data.bin", OTHER, **{header: old})
        server.answers["/data"] = file(CONTENT, **{header: new})
        fetch(f"{server.address}/data", tmp_path / "data.bin", DIGEST)
        assert server.conditions == [None, old, None]
    assert [path.name for path in tmp_path.iterdir()] == ["data.bin"]


@pytest.mark.parametrize("header", VERSIONS)
def test_an_unchanged_file_goes_on_where_it_stopped(header, tmp_path):
    version = {header: VERSIONS[header][0]}
    with serve() as server:
        interrupted(server, tmp_path / "data.bin", CONTENT, **version)
        server.answers["/data"] = file(CONTENT, **version)
        fetch(f"{server.address}/data", tmp_path / "data.bin", DIGEST)
        assert server.asked == [("/data", None), ("/data", f"bytes={HALF}-")]
    assert [path.name for path in tmp_path.iterdir()] == ["data.bin"]


def test_a_whole_part_of_another_version_is_not_taken_for_the_file(tmp_path):
    with serve() as server:
        interrupted(server, tmp_path / "data.bin", OTHER, ETag='"one"')
        (tmp_path / "data.bin.part").write_bytes(OTHER)
        server.answers["/data"] = file(CONTENT, ETag='"two"')
        fetch(f"{server.address}/data", tmp_path / "data.bin", DIGEST)


def test_a_server_that_ignores_the_condition_is_noticed_by_its_version(tmp_path):
    def continues_always(handler):
        del handler.headers["If-Range"]
        file(CONTENT, ETag='"two"')(handler)

    with serve() as server:
        interrupted(server, tmp_path / "data.bin", OTHER, ETag='"one"')
        server.answers["/data"] = continues_always
        fetch(f"{server.address}/data", tmp_path / "data.bin", DIGEST)


def test_the_version_is_that_of_the_last_start(tmp_path):
    with serve() as server:
        interrupted(server, tmp_path / "data.bin", OTHER, ETag='"one"')
        interrupted(server, tmp_path / "data.bin", CONTENT, ETag='"two"')
        assert (tmp_path / "data.bin.part.version").read_text() == '"two"'
        interrupted(server, tmp_path / "data.bin", CONTENT)
        assert not (tmp_path / "data.bin.part.version").exists()


@pytest.mark.parametrize("etag", ['W/"one"', '"\xe4"', "", '"' + "x" * 1000 + '"'])
def test_a_version_that_names_no_bytes_is_not_used(etag, tmp_path):
    with serve() as server:
        interrupted(server, tmp_path / "data.bin", CONTENT, ETag=etag)
        server.answers["/data"] = file(CONTENT, ETag=etag)
        fetch(f"{server.address}/data", tmp_path / "data.bin", DIGEST)
        assert server.conditions == [None, None]
        assert server.asked[1] == ("/data", f"bytes={HALF}-")


def test_a_weak_etag_leaves_the_date(tmp_path):
    with serve() as server:
        interrupted(server, tmp_path / "data.bin", OTHER, ETag='W/"one"', Last_Modified=DATES[0])
        server.answers["/data"] = file(CONTENT, ETag='W/"one"', Last_Modified=DATES[1])
        fetch(f"{server.address}/data", tmp_path / "data.bin", DIGEST)
        assert server.conditions[1] == DATES[0]


@pytest.mark.parametrize("stored", [b"", b"\xff\xfe", b'"a"\r\nX: y', b"x" * 5000])
def test_a_broken_stored_version_is_not_sent(stored, half):
    half.with_name("data.bin.part.version").write_bytes(stored)
    with serve(data=CONTENT) as server:
        fetch(f"{server.address}/data", half, DIGEST)
        assert server.conditions == [None]
    assert [path.name for path in half.parent.iterdir()] == ["data.bin"]


def chunked_and_cut(handler):
    handler.protocol_version = "HTTP/1.1"
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    handler.wfile.write(b"ff\r\n" + b"x" * 100)
    handler.close_connection = True


def raw(text):
    def answer(handler):
        handler.wfile.write(text)
        handler.close_connection = True

    return answer


def stalled(handler):
    handler.answer(b"abc", Content_Length=100)
    time.sleep(1)


BROKEN_ANSWERS = {
    "chunked_and_cut": chunked_and_cut,
    "bad_status": raw(b"HELLO\r\n\r\n"),
    "bad_status_number": raw(b"HTTP/1.1 abc OK\r\n\r\n"),
    "nothing": raw(b""),
    "bad_length": lambda handler: handler.answer(b"abc", Content_Length="many"),
    "long_header": raw(b"HTTP/1.1 200 OK\r\nA: " + b"x" * 100_000 + b"\r\n\r\n"),
    "too_short": lambda handler: handler.answer(b"abc", Content_Length=100),
    "stalled": stalled,
    "to_a_file": lambda handler: handler.answer(b"", 302, Location="file:///etc/passwd"),
    "to_data": lambda handler: handler.answer(b"", 302, Location="data:text/plain,hello"),
    "in_a_circle": lambda handler: handler.answer(b"", 302, Location=handler.path),
    "server_error": lambda handler: handler.answer(b"", 500),
}


@pytest.mark.parametrize("name", BROKEN_ANSWERS)
def test_every_broken_answer_is_an_error_of_a_few_lines(name, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "TIMEOUT_SECONDS", 0.3)
    with serve(**BROKEN_ANSWERS) as server, pytest.raises(DataError, match="could not be downloaded") as caught:
        fetch(f"{server.address}/{name}", tmp_path / "data.bin")
    assert len(str(caught.value).splitlines()) <= 5
    assert not (tmp_path / "data.bin").exists()


def test_a_closed_port_and_an_unknown_host_are_errors(tmp_path, free_port):
    for address in (f"http://127.0.0.1:{free_port}/a", "http://no-such-host.invalid/a"):
        with pytest.raises(DataError, match="could not be downloaded"):
            fetch(address, tmp_path / "data.bin")


@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "data:text/plain,hello", "FILE:///etc/passwd", "/etc/passwd", "http://[::1/a", "http:///a"],
)
def test_other_addresses_than_of_the_internet_are_refused(url, tmp_path):
    with pytest.raises(ConfigError, match="address"):
        fetch(url, tmp_path / "data.bin")
    assert not list(tmp_path.iterdir())


def test_special_characters_of_an_address_are_quoted(tmp_path):
    with serve(**{"my%20photos%20%C3%A4.zip?a=b%20c": CONTENT}) as server:
        fetch(f"{server.address}/my photos ä.zip?a=b%20c", tmp_path / "data.bin", DIGEST)


def test_a_wrong_checksum_removes_the_file(tmp_path):
    message = rf"wrong sha256 and was removed\nexpected {'0' * 64}\nactual   {DIGEST}"
    with serve(data=CONTENT) as server, pytest.raises(DataError, match=message):
        fetch(f"{server.address}/data", tmp_path / "data.bin", "0" * 64)
    assert not list(tmp_path.iterdir())


def test_a_missing_checksum_is_said(tmp_path, caplog):
    with serve(data=CONTENT) as server:
        fetch(f"{server.address}/data", tmp_path / "data.bin")
    assert "not verified" in caplog.text
    assert DIGEST in caplog.text


def test_a_page_instead_of_the_file_is_removed(tmp_path):
    with serve(data=b"\n<!DOCTYPE html><title>Log in</title>") as server:
        with pytest.raises(DataError, match="gave an HTML page instead of the file"):
            fetch(f"{server.address}/data", tmp_path / "data.bin")
        assert not list(tmp_path.iterdir())
        fetch(f"{server.address}/data", tmp_path / "page.html")


def test_a_server_without_the_file_is_named(tmp_path):
    with serve() as server, pytest.raises(DataError, match="404"):
        fetch(f"{server.address}/other.bin", tmp_path / "other.bin")


def test_two_downloads_of_one_file_do_not_mix(half):
    """The second one, of another process, is refused while the first goes on."""
    import subprocess
    import sys

    asked, go_on = threading.Event(), threading.Event()

    def slow(handler):
        asked.set()
        go_on.wait(60)
        handler.answer(CONTENT)

    with serve(data=slow) as server:
        first = threading.Thread(target=fetch, args=(f"{server.address}/data", half, DIGEST))
        first.start()
        assert asked.wait(30)
        code = "import sys, pathlib; from visionkit.data.io.fetch import fetch; "
        code += "fetch('http://a.invalid/', pathlib.Path(sys.argv[1]))"
        second = subprocess.run([sys.executable, "-c", code, half], capture_output=True, text=True, check=False)
        go_on.set()
        first.join(60)
    assert "is being written by another process" in second.stderr
    assert half.read_bytes() == CONTENT


def test_a_full_disk_is_an_error(tmp_path, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "_copy", full)
    with serve(data=CONTENT) as server, pytest.raises(DataError, match="No space left on device"):
        fetch(f"{server.address}/data", tmp_path / "data.bin")


def test_no_socket_is_opened_for_a_file_that_is_there(tmp_path, monkeypatch):
    monkeypatch.setattr(socket.socket, "connect", None)
    (tmp_path / "data.bin").write_bytes(CONTENT)
    fetch("http://127.0.0.1/data.bin", tmp_path / "data.bin", DIGEST)
