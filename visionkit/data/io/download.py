"""Downloading the files of a data card: resumed, verified, and extracted safely."""

import hashlib
import logging
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from visionkit.errors import ConfigError, DataError

CHUNK_BYTES = 1 << 20
TIMEOUT_SECONDS = 30

logger = logging.getLogger("visionkit")


def download(entries: Sequence[Mapping[str, str]], root: Path) -> None:
    """Download and extract the files of a card.

    Args:
        entries: the card's `data.download`. Each entry has `url`; optionally `sha256`; and optionally `extract_to`,
            a folder relative to `root` (without it, the file is not extracted).
        root: folder of the dataset, which is created if it does not exist.

    Raises:
        ConfigError: an entry has no url.
        DataError: the download fails, the checksum differs, or the archive is broken or unsafe.
    """
    for entry in entries:
        if "url" not in entry:
            raise ConfigError("every entry of data.download needs a url")
        archive = fetch(entry["url"], root / Path(entry["url"]).name, entry.get("sha256"))
        if "extract_to" in entry:
            extract(archive, root / entry["extract_to"])


def fetch(url: str, target: Path, sha256: str | None = None) -> Path:
    """Download a file and return its path. An interrupted download is resumed.

    Args:
        url: address.
        target: file to write; an incomplete download is stored as `<name>.part`.
        sha256: expected digest in hex; None logs the digest with a warning.

    Raises:
        DataError: the download fails, or the digest differs; the file is then removed.
    """
    if not target.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(target.name + ".part")
        try:
            _resume(url, part)
        except (HTTPError, URLError, TimeoutError, ConnectionError) as error:
            raise DataError(f"{url} could not be downloaded: {error}\nrun the same command again to resume") from error
        part.rename(target)
    digest = _sha256(target)
    if sha256 is None:
        logger.warning("%s is not verified: the card has no sha256 for it; its sha256 is %s", target.name, digest)
    elif digest != sha256.lower():
        target.unlink()
        raise DataError(f"{target.name} has the wrong sha256 and was removed\nexpected {sha256}\nactual   {digest}")
    return target


def extract(archive: Path, folder: Path) -> None:
    """Extract a zip or tar archive into `folder`.

    Raises:
        DataError: it is no zip or tar archive, it is broken, or it has links or members outside `folder`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as opened:
                _check_members_inside(opened.namelist(), folder, archive)
                opened.extractall(folder)
        elif tarfile.is_tarfile(archive):
            with tarfile.open(archive) as opened_tar:
                members = opened_tar.getmembers()
                _check_members_inside([member.name for member in members], folder, archive)
                special = [member.name for member in members if not (member.isfile() or member.isdir())]
                if special:
                    raise DataError(f"{archive.name} is unsafe: its member {special[0]!r} is a link or a device")
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
        if error.code == 416:  # the file is already complete
            return
        raise
    with response, part.open("ab" if response.status == 206 else "wb") as file, _progress() as progress:
        completed = start if response.status == 206 else 0
        length = response.headers.get("Content-Length")
        total = completed + int(length) if length else None
        task = progress.add_task(part.stem, total=total, completed=completed)
        while chunk := response.read(CHUNK_BYTES):
            file.write(chunk)
            progress.advance(task, len(chunk))
    if total is not None and part.stat().st_size < total:
        raise ConnectionError(f"the connection ended after {part.stat().st_size} of {total} bytes")


def _check_members_inside(names: list[str], folder: Path, archive: Path) -> None:
    top = folder.resolve()
    for name in names:
        if not (top / name).resolve().is_relative_to(top):
            raise DataError(f"{archive.name} is unsafe: its member {name!r} would be written outside {folder}")


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()
    )
