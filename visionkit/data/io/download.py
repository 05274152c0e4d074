"""Fetching a card's files: resumed, verified, unpacked without letting an archive write outside its folder."""

import hashlib
import logging
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from visionkit.errors import ConfigError, DataError

CHUNK = 1 << 20
TIMEOUT_SECONDS = 30

logger = logging.getLogger("visionkit")


def download(data: Mapping[str, Any], root: Path) -> None:
    """Fetch and unpack every file that a card's `download` list names.

    Args:
        data: the card's `data` section; each entry of its `download` has `url`, and where they are known `sha256`,
            and `extract_to` (a folder below `root`; without it the file is kept as it is).
        root: folder of the data set; made where it is missing.

    Raises:
        DataError: the server does not answer, the checksum differs, or the archive is broken or unsafe.
    """
    for entry in data.get("download") or []:
        if "url" not in entry:
            raise ConfigError("every entry of data.download needs a url")
        archive = fetch(entry["url"], root / Path(entry["url"]).name, entry.get("sha256"))
        if "extract_to" in entry:
            extract(archive, root / entry["extract_to"])


def fetch(url: str, target: Path, sha256: str | None = None) -> Path:
    """Download a file, going on where an earlier attempt stopped.

    Args:
        url: address.
        target: file to write; the part so far lies beside it as `<name>.part`.
        sha256: expected digest in hex; None prints the digest and says that nothing was compared.

    Raises:
        DataError: the server does not answer, or the digest differs (the file is removed then).
    """
    if not target.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(target.name + ".part")
        try:
            _resume(url, part)
        except (HTTPError, URLError, TimeoutError, ConnectionError) as error:
            raise DataError(f"{url} could not be downloaded: {error}\nrun the same command again to go on") from error
        part.rename(target)
    digest = _sha256(target)
    if sha256 is None:
        logger.warning("%s is not verified: the card names no sha256; it is %s", target.name, digest)
    elif digest != sha256.lower():
        target.unlink()
        raise DataError(f"{target.name} has the wrong checksum and was removed\nexpected {sha256}\nfound    {digest}")
    return target


def extract(archive: Path, folder: Path) -> None:
    """Unpack a zip or tar archive into `folder`.

    Raises:
        DataError: it is neither, it is broken, or a member would land outside `folder` or is a link out of it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as opened:
                _refuse_escapes(opened.namelist(), folder, archive)
                opened.extractall(folder)
        elif tarfile.is_tarfile(archive):
            with tarfile.open(archive) as opened_tar:
                members = opened_tar.getmembers()
                _refuse_escapes([member.name for member in members], folder, archive)
                special = [member.name for member in members if not (member.isfile() or member.isdir())]
                if special:
                    raise DataError(f"{archive.name} holds links or devices, which no data set needs: {special[0]}")
                opened_tar.extractall(folder, members)
        else:
            raise DataError(f"{archive.name} is neither a zip nor a tar archive")
    except (zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
        raise DataError(f"{archive.name} is broken: {error}") from error


def _resume(url: str, part: Path) -> None:
    start = part.stat().st_size if part.exists() else 0
    request = Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        response = urlopen(request, timeout=TIMEOUT_SECONDS)
    except HTTPError as error:
        if error.code == 416:  # nothing is left to fetch
            return
        raise
    with response, part.open("ab" if response.status == 206 else "wb") as file, _progress() as progress:
        done = start if response.status == 206 else 0
        length = response.headers.get("Content-Length")
        total = done + int(length) if length else None
        task = progress.add_task(part.stem, total=total, completed=done)
        while chunk := response.read(CHUNK):
            file.write(chunk)
            progress.advance(task, len(chunk))
    if total is not None and part.stat().st_size < total:
        raise ConnectionError(f"the connection ended after {part.stat().st_size} of {total} bytes")


def _refuse_escapes(names: list[str], folder: Path, archive: Path) -> None:
    top = folder.resolve()
    for name in names:
        if not (top / name).resolve().is_relative_to(top):
            raise DataError(f"{archive.name} is unsafe: its member {name!r} would be written outside {folder}")


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()
    )
