"""Downloading the files of a data card."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from visionkit.data.io.archives import BrokenArchiveError, extract
from visionkit.data.io.fetch import check_address, fetch
from visionkit.data.io.paths import find_outside
from visionkit.errors import ConfigError, DataError

MAX_NAME = 150
"""Largest number of characters of a file name that is made from an address."""


@dataclass(frozen=True)
class DownloadEntry:
    """File of a card's `data.download`.

    Attributes:
        url: address, of http, https or ftp.
        sha256: expected digest in hex; None does not verify the file.
        extract_to: folder to extract the archive into, relative to the root of the data; None does not extract it.
        extracted_bytes: largest total size of the extracted files; see `extract` for the default.

    Raises:
        ConfigError: a value has the wrong type.
    """

    url: str
    sha256: str | None = None
    extract_to: str | None = None
    extracted_bytes: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.url, str) or not isinstance(self.extract_to, str | None):
            raise ConfigError(f"data.download: url and extract_to are texts, not {self.url!r} and {self.extract_to!r}")
        check_address(self.url)
        if self.sha256 is not None and not re.fullmatch("[0-9a-fA-F]{64}", str(self.sha256)):
            raise ConfigError(f"data.download: sha256 is {self.sha256!r}, and must be 64 hexadecimal digits")
        if self.extracted_bytes is not None and (type(self.extracted_bytes) is not int or self.extracted_bytes < 1):
            raise ConfigError(f"data.download: extracted_bytes is {self.extracted_bytes!r}, and must be a whole number")


def download(entries: Sequence[Mapping[str, Any]], root: Path) -> None:
    """Download and extract the files of a card.

    Args:
        entries: the card's `data.download`, see `DownloadEntry`.
        root: folder of the dataset, which is created if it does not exist.

    Raises:
        ConfigError: an entry has no url, an unknown key, or an `extract_to` outside `root`.
        DataError: the download fails, the checksum differs, or the archive is broken or unsafe. A broken archive whose
            checksum is not given is removed, so that the next download starts anew.
    """
    files = [_entry(values) for values in entries]
    for index in find_outside(root, [file.extract_to or "." for file in files])[:1]:
        raise ConfigError(f"data.download: extract_to {files[index].extract_to!r} is outside data.root {root}")
    for file, name in zip(files, file_names([file.url for file in files]), strict=True):
        archive = fetch(file.url, root / name, file.sha256)
        if file.extract_to is None:
            continue
        try:
            extract(archive, root / file.extract_to, file.extracted_bytes)
        except BrokenArchiveError as error:
            if file.sha256 is not None:  # the card names a broken file
                raise
            archive.unlink()
            raise DataError(f"{error}\nit was removed: run the same command again to download it anew") from error


def file_names(urls: Sequence[str]) -> list[str]:
    """Return a different file name for each address: its last part with the query, without special characters."""
    names: list[str] = []
    for url in urls:
        parts = urlsplit(url)
        last = unquote(parts.path).rstrip("/").rpartition("/")[2] + (f"?{parts.query}" if parts.query else "")
        copies = 1
        name = re.sub(r"[^\w.+()-]+", "_", last)[-MAX_NAME:].lstrip(".") or "download"
        while name in names:
            copies += 1
            name = f"{Path(name).stem}-{copies}{Path(name).suffix}"
        names.append(name)
    return names


def _entry(values: Any) -> DownloadEntry:
    if not isinstance(values, Mapping) or "url" not in values:
        raise ConfigError("every entry of data.download needs a url")
    known = [field.name for field in fields(DownloadEntry)]
    unknown = [key for key in values if key not in known]
    if unknown:
        raise ConfigError(f"data.download: unknown key {unknown[0]!r}; known: {', '.join(known)}")
    return DownloadEntry(**values)
