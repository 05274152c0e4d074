import contextlib
import io
import struct
import tarfile
import tracemalloc
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visionkit.data.io.archives import BrokenArchiveError, extract
from visionkit.errors import DataError


def make_zip(path, **members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, content in members.items():
            opened.writestr(name, content)
    return path


def make_tar(path, name, content=b"x", mode="w", **attributes):
    with tarfile.open(path, mode) as opened:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        for key, value in attributes.items():
            setattr(member, key, value)
        opened.addfile(member, io.BytesIO(content))
    return path


UNSAFE = {
    "parent in a zip": (
        lambda path: make_zip(path, **{"../evil.txt": "x"}),
        r"'\.\./evil\.txt' would be written outside",
    ),
    "root in a zip": (lambda path: make_zip(path, **{"/evil.txt": "x"}), "'/evil.txt' would be written outside"),
    "parent in a tar": (lambda path: make_tar(path, "a/../../../evil.txt"), "would be written outside"),
    "root in a tar": (lambda path: make_tar(path, "/evil.txt"), "would be written outside"),
    "link": (lambda path: make_tar(path, "l", b"", type=tarfile.SYMTYPE, linkname="/etc"), "'l' is a link or a device"),
    "hard link": (lambda path: make_tar(path, "l", b"", type=tarfile.LNKTYPE, linkname="/etc/passwd"), "is a link"),
    "device": (lambda path: make_tar(path, "d", b"", type=tarfile.CHRTYPE), "is a link or a device"),
    "pipe": (lambda path: make_tar(path, "p", b"", type=tarfile.FIFOTYPE), "is a link or a device"),
}


@pytest.mark.parametrize("name", UNSAFE)
def test_archives_that_would_write_elsewhere_are_refused(name, tmp_path):
    make, reason = UNSAFE[name]
    archive, folder = make(tmp_path / "archive"), tmp_path / "inner" / "folder"
    with pytest.raises(DataError, match=f"archive is unsafe: its member .*{reason}"):
        extract(archive, folder)
    assert not folder.exists()


def test_a_link_that_is_there_does_not_lead_outside(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "link").symlink_to(tmp_path)
    with pytest.raises(DataError, match="would be written outside"):
        extract(make_zip(tmp_path / "a.zip", **{"link/evil.txt": "x"}), tmp_path / "folder")


def test_files_get_the_usual_mode_and_owner(tmp_path):
    archive = make_tar(tmp_path / "a.tar", "a", mode="w", uid=12345, gid=12345)
    with tarfile.open(archive, "w") as opened:
        member = tarfile.TarInfo("a")
        member.mode, member.uid, member.gid = 0o6777, 12345, 12345
        opened.addfile(member)
    extract(archive, tmp_path / "out")
    (tmp_path / "ordinary").touch()
    status, usual = (tmp_path / "out" / "a").stat(), (tmp_path / "ordinary").stat()
    assert (status.st_mode, status.st_uid, status.st_gid) == (usual.st_mode, usual.st_uid, usual.st_gid)


@pytest.mark.parametrize("mode", ["zip", "w", "w:gz", "w:bz2", "w:xz"])
def test_members_are_written_with_their_folders(mode, tmp_path):
    archive = tmp_path / "archive"
    if mode == "zip":
        make_zip(archive, **{"empty/": "", "inner/a.txt": "hello"})
    else:
        make_tar(archive, "inner/a.txt", b"hello", mode)
    extract(archive, tmp_path / "out")
    assert (tmp_path / "out" / "inner" / "a.txt").read_text() == "hello"
    assert (tmp_path / "out" / "empty").is_dir() == (mode == "zip")


def bomb(path, kind):
    zeros = bytes(20_000_000)
    return make_zip(path, zeros=zeros) if kind == "zip" else make_tar(path, "zeros", zeros, "w:gz")


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_archives_that_would_fill_the_disk_are_refused(kind, tmp_path, monkeypatch):
    archive = bomb(tmp_path / "archive", kind)
    with pytest.raises(DataError, match=r"20,000,000 bytes when extracted, more than 1,000,000\nif that is right, set"):
        extract(archive, tmp_path / "out", 1_000_000)
    assert not (tmp_path / "out").exists()
    extract(archive, tmp_path / "out", 20_000_000)
    monkeypatch.setattr("visionkit.data.io.archives.USUAL_BYTES", 1_000_000)
    with pytest.raises(DataError, match="more than 1,"):
        extract(archive, tmp_path / "other")


def test_a_zip_that_declares_too_small_a_size_is_broken(tmp_path):
    archive = make_zip(tmp_path / "a.zip", zeros=bytes(5_000_000))
    content = archive.read_bytes().replace(struct.pack("<L", 5_000_000), struct.pack("<L", 10))
    archive.write_bytes(content)
    with pytest.raises(BrokenArchiveError, match="is broken"):
        extract(archive, tmp_path / "out", 1000)
    assert (tmp_path / "out" / "zeros").stat().st_size <= 1000


def test_a_huge_extended_header_is_not_read_into_memory(tmp_path):
    first = make_tar(tmp_path / "a.tar.gz", "a", bytes(30_000_000), "w:gz", type=tarfile.XHDTYPE)
    second = tmp_path / "b.tar"
    with tarfile.open(second, "w") as opened:
        opened.addfile(tarfile.TarInfo("a"))
        member = tarfile.TarInfo("b")
        member.type, member.size = tarfile.GNUTYPE_LONGNAME, 30_000_000
        opened.addfile(member, io.BytesIO(bytes(30_000_000)))
    for archive in (first, second):
        tracemalloc.start()
        with pytest.raises(BrokenArchiveError):
            extract(archive, tmp_path / "out")
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 10_000_000


def encrypted(path):
    make_zip(path, a="secret")
    content = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + offset] |= 1
    path.write_bytes(content)
    return path


def test_an_encrypted_archive_is_named(tmp_path):
    with pytest.raises(DataError, match=r"a\.zip is encrypted"):
        extract(encrypted(tmp_path / "a.zip"), tmp_path / "out")


def test_what_is_no_archive_is_refused(tmp_path):
    (tmp_path / "a.zip").write_text("no archive")
    with pytest.raises(BrokenArchiveError, match="neither a zip nor a tar"):
        extract(tmp_path / "a.zip", tmp_path / "out")


def test_a_file_in_the_way_is_an_error(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "inner").write_text("a file")
    with pytest.raises(DataError, match="could not be extracted"):
        extract(make_zip(tmp_path / "a.zip", **{"inner/a.txt": "x"}), tmp_path / "out")


@pytest.mark.parametrize("kind", ["zip", "w", "w:gz", "w:bz2", "w:xz"])
@given(data=st.data())
def test_broken_archives_are_errors_or_harmless(kind, data, tmp_path_factory):
    """Any byte of an archive is changed, or its end is missing."""
    folder = tmp_path_factory.mktemp("broken")
    archive = folder / "archive"
    text = bytes(range(200)) * 3
    if kind == "zip":
        make_zip(archive, **{"inner/a.txt": text})
    else:
        make_tar(archive, "inner/a.txt", text, kind)
    content = bytearray(archive.read_bytes())
    position = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content = content[:position]
    else:
        content[position] = data.draw(st.integers(0, 255))
    archive.write_bytes(content)
    with contextlib.suppress(DataError):
        extract(archive, folder / "out", 10_000)
    assert {path.name for path in folder.iterdir()} <= {"archive", "out"}


def test_a_member_without_name_is_refused(tmp_path):
    path = tmp_path / "a.zip"
    nameless = zipfile.ZipInfo("a")
    nameless.filename = ""
    with zipfile.ZipFile(path, "w") as opened:
        opened.writestr(nameless, b"text")
    with pytest.raises(BrokenArchiveError, match="is broken"):
        extract(path, tmp_path / "to")
