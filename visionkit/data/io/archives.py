"""Extraction of zip and tar archives from the internet."""

import functools
import gzip
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

from typing_extensions import Self

from visionkit.data.io.paths import find_outside
from visionkit.errors import DataError

CHUNK_BYTES = 1 << 20

USUAL_BYTES = 1 << 30
"""Extracted size that is always allowed."""

USUAL_RATIO = 50
"""Ratio of the extracted size to that of the archive that is always allowed; text shrinks to a twentieth."""

BROKEN = (
    zipfile.BadZipFile,
    tarfile.TarError,
    gzip.BadGzipFile,
    EOFError,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    LookupError,  # a member without name
    RuntimeError,  # encrypted
    NotImplementedError,  # an unknown compression
    ValueError,
    OverflowError,
)
"""Exceptions of zipfile and tarfile for broken archives, besides OSError."""


class _Member(NamedTuple):
    """File or folder in an archive; `open` returns the content of a file."""

    name: str
    is_folder: bool
    size: int
    open: Callable[[], IO[bytes]]


class BrokenArchiveError(DataError):
    """A file that is no archive, or a broken one. Downloading it anew may help."""


class _SmallHeader(tarfile.TarInfo):
    """Header of a member that refuses huge extended headers, which tarfile would read into memory."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        header = super().frombuf(buf, encoding, errors)
        if not (header.isfile() or header.isdir()) and header.size > CHUNK_BYTES:
            raise tarfile.ReadError(f"a header of {header.size:,} bytes")
        return header


def extract(archive: Path, folder: Path, max_bytes: int | None = None) -> None:
    """Extract a zip or tar archive into `folder`.

    Only the contents of the members are taken: the files get the usual owner and mode.

    Args:
        archive: path of the archive.
        folder: folder to extract into, which is created if it does not exist.
        max_bytes: largest total size of the extracted files. None allows the larger of 1 GiB and 50 times the size of
            the archive.

    Raises:
        BrokenArchiveError: it is no zip or tar archive, or it is broken.
        DataError: it is encrypted, it is larger than `max_bytes`, it has links or members outside `folder`, or `folder`
            cannot be written.
    """
    limit = max(USUAL_BYTES, USUAL_RATIO * archive.stat().st_size) if max_bytes is None else max_bytes
    try:
        with _opened(archive, limit) as members:
            _check_names([member.name for member in members], folder, archive)
            _check_size(sum(member.size for member in members), limit, archive)
            folder.mkdir(parents=True, exist_ok=True)
            left = limit
            for member in members:
                path = folder / member.name
                (path if member.is_folder else path.parent).mkdir(parents=True, exist_ok=True)
                if not member.is_folder:
                    left -= _write(member, path, left, archive)
    except BROKEN as error:
        if isinstance(error, DataError):
            raise
        raise BrokenArchiveError(f"{archive.name} is broken: {error!s:.200}") from error
    except OSError as error:
        raise DataError(f"{archive.name} could not be extracted into {folder}: {error}") from error


@contextmanager
def _opened(archive: Path, limit: int) -> Iterator[list[_Member]]:
    """Yield the members of an open archive."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            yield [_zip_member(opened, info, archive) for info in opened.infolist()]
        return
    try:
        opened_tar = tarfile.open(archive, tarinfo=_SmallHeader)  # noqa: SIM115  # closed below
    except tarfile.ReadError as error:
        raise BrokenArchiveError(f"{archive.name} is neither a zip nor a tar archive") from error
    with opened_tar:
        yield list(_tar_members(opened_tar, limit, archive))


def _zip_member(opened: zipfile.ZipFile, info: zipfile.ZipInfo, archive: Path) -> _Member:
    if info.flag_bits & 1:
        raise DataError(f"{archive.name} is encrypted: unpack it by hand, and remove extract_to from the card")
    return _Member(info.filename, info.is_dir(), info.file_size, functools.partial(opened.open, info))


def _tar_members(opened: tarfile.TarFile, limit: int, archive: Path) -> Iterator[_Member]:
    """Yield the members. The size is checked in between, because the next one is found by reading over the content."""
    size = 0
    for info in opened:
        if not (info.isfile() or info.isdir()):
            raise DataError(f"{archive.name} is unsafe: its member {info.name!r} is a link or a device")
        size += info.size
        _check_size(size, limit, archive)
        yield _Member(info.name, info.isdir(), info.size, functools.partial(_tar_content, opened, info))


def _tar_content(opened: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    content = opened.extractfile(info)
    assert content is not None  # not a link or a device
    return content


def _check_names(names: list[str], folder: Path, archive: Path) -> None:
    for index in find_outside(folder, names)[:1]:
        raise DataError(f"{archive.name} is unsafe: its member {names[index]!r} would be written outside {folder}")


def _check_size(size: int, limit: int, archive: Path) -> None:
    if size > limit:
        raise DataError(
            f"{archive.name} would be {size:,} bytes when extracted, more than {limit:,}\n"
            "if that is right, set extracted_bytes of its entry in data.download"
        )


def _write(member: _Member, path: Path, limit: int, archive: Path) -> int:
    """Write a member, and return its size, which may differ from what the archive declares."""
    size = 0
    with member.open() as source, path.open("wb") as target:
        while chunk := source.read(CHUNK_BYTES):
            size += len(chunk)
            _check_size(size, limit, archive)
            target.write(chunk)
    return size
