"""Download of one file: resumed where an earlier download stopped, and verified."""

import hashlib
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import Any, BinaryIO
from urllib.error import HTTPError
from urllib.parse import quote, urlsplit
from urllib.request import (
    FTPHandler,
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
    UnknownHandler,
)

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from visionkit.data.io.atomic_write import replace, write_text
from visionkit.data.io.file_lock import try_lock
from visionkit.errors import ConfigError, DataError

CHUNK_BYTES = 1 << 20
TIMEOUT_SECONDS = 30
MAX_VERSION = 1000
"""Largest number of characters of a version that a server states."""

SCHEMES = ("http", "https", "ftp")

logger = logging.getLogger("visionkit")


def fetch(url: str, target: Path, sha256: str | None = None, quiet: bool = False) -> Path:
    """Download a file and return its path. An interrupted download is resumed if the file has not changed since.

    Args:
        url: address, of http, https or ftp. Spaces and other special characters are quoted.
        target: file to write; an incomplete download is stored as `<name>.part`, and the version of the file that the
            server states as `<name>.part.version`.
        sha256: expected digest in hex; None logs the digest with a warning.
        quiet: show no progress, and log nothing.

    Raises:
        ConfigError: the address is malformed or has another scheme.
        DataError: the download fails, the server sends an HTML page instead, or the digest differs; the file is then
            removed, so that the next download starts anew.
    """
    check_address(url)
    if not target.is_file():
        try:
            _download(quote(url, safe="%/:=&?~#+!$,;'@()*[]"), target, quiet)
        except (OSError, HTTPException, ValueError) as error:  # ValueError: a malformed address or header
            if isinstance(error, DataError):
                raise
            raise DataError(f"{url} could not be downloaded: {error!s:.200}\nrun the same command again") from error
    digest = sha256_of(target)
    if sha256 is not None and digest != sha256.lower():
        target.unlink()
        raise DataError(f"{target.name} has the wrong sha256 and was removed\nexpected {sha256}\nactual   {digest}")
    if sha256 is None:
        _refuse_page(target, url)
        if not quiet:
            logger.warning("%s is not verified: the card has no sha256 for it; its sha256 is %s", target.name, digest)
    return target


def check_address(url: str) -> None:
    """Raise ConfigError if an address is malformed or has another scheme, such as `file:` or `data:`."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise ConfigError(f"{url!r:.200} is no address: {error}") from error
    if parts.scheme.lower() not in SCHEMES or not parts.hostname:
        raise ConfigError(f"{url!r:.200} cannot be downloaded: an address begins with one of {', '.join(SCHEMES)}")


def _download(url: str, target: Path, quiet: bool) -> None:
    """Download to `<name>.part`, from the end of what is there, and rename it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    version = part.with_name(part.name + ".version")
    bar = None if quiet else part.stem
    with part.open("ab") as file:
        if not try_lock(file):
            raise DataError(f"{part} is being written by another process")
        if not (file.tell() and _resume(url, file, bar, _read_version(version))):
            file.truncate(0)
            file.seek(0)
            version.unlink(missing_ok=True)
            with _opened(Request(url)) as response:
                if stated := _stated_version(response.headers):
                    write_text(version, stated)
                _copy(response, file, _length(response), bar)
        replace(part, target, file.fileno())
        version.unlink(missing_ok=True)


def _resume(url: str, file: BinaryIO, bar: str | None, version: str | None) -> bool:
    """Append the rest of a file, and return whether the file is complete.

    Args:
        url: address.
        file: the first part, open for appending.
        bar: name of the file, for the progress bar; None shows none.
        version: version of the file that the first part is of; None if the server stated none.

    Returns:
        False if the server cannot continue the file, or has another version.
    """
    start = file.tell()
    condition = {} if version is None else {"If-Range": version}
    try:
        with _opened(Request(url, headers={"Range": f"bytes={start}-", **condition})) as response:
            first, total = _content_range(response.headers.get("Content-Range"))
            if response.status != 206 or first != start or total is None:
                return False
            if version is not None and _stated_version(response.headers) not in (None, version):
                return False  # the server ignores If-Range
            _copy(response, file, total, bar)
            return True
    except HTTPError as error:
        if error.code != 416:
            raise
        with error:  # nothing is left to send: the file is complete, or longer than on the server
            return _content_range(error.headers.get("Content-Range"))[1] == start


def _copy(response: Any, file: BinaryIO, total: int | None, bar: str | None) -> None:
    """Append a response to a file that shall then have `total` bytes."""
    with _progress(disable=bar is None) as progress:
        task = progress.add_task(bar or "", total=total, completed=file.tell())
        while chunk := response.read(CHUNK_BYTES):
            file.write(chunk)
            progress.advance(task, len(chunk))
    file.flush()
    if total is not None and file.tell() != total:
        raise ConnectionError(f"the connection ended after {file.tell()} of {total} bytes")


def _stated_version(headers: Any) -> str | None:
    """Return the ETag of a response, else its date of modification; None without a usable one.

    A weak ETag names files that are equivalent but may differ in their bytes, so that parts of them do not fit.
    """
    stated = (headers.get("ETag"), headers.get("Last-Modified"))
    return next((value for value in stated if value is not None and _is_version(value)), None)


def _read_version(path: Path) -> str | None:
    """Return the stored version of the first part of a file; None without a usable one."""
    if not path.is_file():
        return None
    value = path.read_text("ascii", errors="replace")
    return value if _is_version(value) else None


def _is_version(value: str) -> bool:
    return 0 < len(value) <= MAX_VERSION and value.isascii() and value.isprintable() and not value.startswith("W/")


def _length(response: Any) -> int | None:
    length = response.headers.get("Content-Length")
    return int(length) if length else None


def _content_range(header: str | None) -> tuple[int | None, int | None]:
    """Return the first byte and the total size in a header like `bytes 10-19/20` or `bytes */20`."""
    found = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+)", header or "")
    return (int(found[1]) if found[1] else None, int(found[2])) if found else (None, None)


@contextmanager
def _opened(request: Request) -> Iterator[Any]:
    """Open an address without the handlers for `file:` and `data:`, to which a server could redirect."""
    opener = OpenerDirector()
    for handler in (
        ProxyHandler,
        HTTPHandler,
        HTTPSHandler,
        FTPHandler,
        HTTPRedirectHandler,
        HTTPDefaultErrorHandler,
        HTTPErrorProcessor,
        UnknownHandler,
    ):
        opener.add_handler(handler())
    with opener.open(request, timeout=TIMEOUT_SECONDS) as response:
        yield response


def _refuse_page(target: Path, url: str) -> None:
    """Remove a file that is an HTML page, such as a login or an error, unless the address is that of a page."""
    with target.open("rb") as file:
        start = file.read(512).lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html")) and target.suffix.lower() not in (".html", ".htm"):
        target.unlink()
        raise DataError(f"{url} gave an HTML page instead of the file; it was removed\nopen the address in a browser")


def sha256_of(path: Path) -> str:
    """Return the SHA-256 digest of a file in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _progress(disable: bool) -> Progress:
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    return Progress(TextColumn("{task.description}"), *columns, disable=disable)
