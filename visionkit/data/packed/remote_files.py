"""Downloads of the files of remote packed data: over http by `fetch`, from s3 and gs by LitData's downloaders."""

import importlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit, urlunsplit

from visionkit.data.io.atomic_write import atomic_write
from visionkit.data.io.fetch import fetch, sha256_of
from visionkit.errors import ConfigError, DataError, VisionkitError

PAUSES = (1.0, 4.0)
"""Seconds before the second and the third attempt of a download."""

DOWNLOADERS: Mapping[str, str] = {"s3": "S3Downloader", "gs": "GCPDownloader"}
"""LitData's class for each scheme."""

SCHEMES = ("http", "https", *DOWNLOADERS)


def check_remote(url: str) -> None:
    """Raise ConfigError if packed data cannot be read from an address."""
    scheme = urlsplit(url).scheme.lower()
    if scheme not in SCHEMES:
        raise ConfigError(f"root={url} has the scheme {scheme}; packed data is read from {', '.join(SCHEMES)}")


def join_url(url: str, *names: str) -> str:
    """Return the address of a file below another address. A query, such as an access key, is kept.

    Example:
        >>> from visionkit.data.packed.remote_files import join_url
        >>> join_url("https://host/data/?key=1", "train", "a.bin")
        'https://host/data/train/a.bin?key=1'
    """
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path="/".join([parts.path.rstrip("/"), *names])))


def without_query(url: str) -> str:
    """Return an address without its query and without a name and password."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", ""))


def download_file(url: str, target: Path, sha256: str | None = None) -> None:
    """Download a file, with up to two further attempts after a failure.

    Args:
        url: address, of http, https, s3 or gs.
        target: file to write; nothing is done if it exists.
        sha256: expected digest in hex; None does not verify the file.

    Raises:
        DataError: the download fails, or the digest differs. The message has the address.
        VisionkitError: the address is of s3 or gs, and LitData is not installed.
    """
    attempt = _from_cloud if urlsplit(url).scheme.lower() in DOWNLOADERS else _from_web
    for pause in (*PAUSES, None):
        try:
            return attempt(url, target, sha256)
        except DataError as error:
            if pause is None or _is_final(error):
                raise
            time.sleep(pause)
    return None


def _is_final(error: DataError) -> bool:
    """Return whether the server says that the file is not there, or is not for us."""
    return isinstance(error.__cause__, HTTPError) and 400 <= error.__cause__.code < 500


def _from_web(url: str, target: Path, sha256: str | None) -> None:
    fetch(url, target, sha256, quiet=True)


def _from_cloud(url: str, target: Path, sha256: str | None) -> None:
    """Download with the SDK of the cloud. LitData's faster client has threads that a forked process would lack."""
    downloader = _downloader(urlsplit(url).scheme.lower())
    try:
        with atomic_write(target) as file:
            downloader.download_fileobj(url, file)
    except VisionkitError:
        raise
    except Exception as error:  # each SDK has its own errors
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"{url} could not be downloaded: {reason:.200}\nrun the same command again") from error
    if sha256 is not None and sha256_of(target) != sha256:
        target.unlink()
        raise DataError(f"{url} has the wrong sha256, and was removed; expected {sha256}")


def _downloader(scheme: str) -> Any:
    """Return LitData's downloader of a scheme. Credentials come from the environment, as for its SDK."""
    litdata = import_litdata(f"{scheme}:// addresses", "litdata.streaming.downloader")
    try:
        return getattr(litdata, DOWNLOADERS[scheme])("", "", [], {}, session_options={})
    except ModuleNotFoundError as error:
        raise VisionkitError(f"{scheme}:// addresses need one more package: {error}") from error


def import_litdata(user: str, module: str) -> Any:
    """Return a module of LitData.

    Args:
        user: what needs it, for the message.
        module: full name of the module.

    Raises:
        VisionkitError: LitData is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise VisionkitError(f'{user} need LitData, of the extra "stream": pip install "visionkit[stream]"') from error
