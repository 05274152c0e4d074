"""Published ImageNet weights: where they are on disk, and where they can be downloaded."""

import functools
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.request import Request, urlopen

import torch
import torchvision
from torch import Tensor

from visionkit.errors import CheckpointError

PROBE_SECONDS = 4.0
"""Seconds without a response after which a server counts as unreachable."""


class UnavailableError(CheckpointError):
    """Published weights are neither on disk nor can they be downloaded."""


class UnpublishedError(UnavailableError):
    """There are no published weights of this network."""


@dataclass(frozen=True)
class PublishedWeights:
    """One published weights file.

    Attributes:
        url: its address.
        file_names: names that it may have on disk; a download gets the first. A hash in this name
            ("resnet50-11ad3fa6.pth") is compared with that of the downloaded file.
        cached: path of the file in another library's cache, if it is there.
    """

    url: str
    file_names: tuple[str, ...]
    cached: Path | None = None

    def on_disk(self) -> Path | None:
        """Return the file in $VISIONKIT_WEIGHTS, torch hub's folder or the other cache, in this order, or None."""
        paths = [folder / name for folder in weight_folders() for name in self.file_names]
        if self.cached is not None:
            paths.append(self.cached)
        return next((path for path in paths if os.path.isfile(path)), None)

    def obtain(self) -> Path:
        """Return the path of the file, which is downloaded into torch hub's folder if it is not on disk.

        Raises:
            UnavailableError: it is not on disk and cannot be downloaded; the message names the folders.
        """
        path = self.on_disk()
        if path is not None:
            return path
        try:
            return self._download()
        except (OSError, HTTPException, RuntimeError) as reason:  # a wrong hash is a RuntimeError
            folders = ", ".join(str(folder) for folder in weight_folders())
            raise UnavailableError(
                f"{self.file_names[0]} is not in {folders}\n"
                f"and could not be downloaded from {self.url}: {reason}\n"
                "Put the file into one of these folders, or set $VISIONKIT_WEIGHTS to its folder."
            ) from reason

    def is_reachable(self) -> bool:
        """Return whether the file could be downloaded."""
        return self._obstacle() is None

    def _obstacle(self) -> str | None:
        """Return why the file cannot be downloaded; None if its server responds."""
        if os.environ.get("VISIONKIT_OFFLINE", "0") not in ("", "0"):
            return "VISIONKIT_OFFLINE is set"
        return unreachable(self.url)

    def _download(self) -> Path:
        problem = self._obstacle()
        if problem is not None:
            raise OSError(problem)
        target = _hub_folder() / self.file_names[0]
        target.parent.mkdir(parents=True, exist_ok=True)
        expected_hash = torch.hub.HASH_REGEX.search(target.name)
        torch.hub.download_url_to_file(self.url, str(target), expected_hash.group(1) if expected_hash else None)
        return target


def weight_folders() -> list[Path]:
    """Return the folders that are searched for published weights: $VISIONKIT_WEIGHTS if set, then torch hub's.

    Raises:
        CheckpointError: $VISIONKIT_WEIGHTS is set but is not a folder.
    """
    own = os.environ.get("VISIONKIT_WEIGHTS")
    if not own:
        return [_hub_folder()]
    if not Path(own).is_dir():
        raise CheckpointError(f"$VISIONKIT_WEIGHTS is {own!r}, which is not a folder: change or unset it")
    return [Path(own), _hub_folder()]


@functools.cache
def unreachable(url: str) -> str | None:
    """Return why `url` does not respond within `PROBE_SECONDS`, or None if it does.

    The request runs in a thread, because the timeout does not cover the name server.
    """
    problems = [f"no response within {PROBE_SECONDS:g} s"]

    def request() -> None:
        try:
            with urlopen(Request(url, method="HEAD"), timeout=PROBE_SECONDS):
                problems.append("")
        except (OSError, HTTPException) as reason:
            problems.append(str(reason))

    thread = threading.Thread(target=request, daemon=True)
    thread.start()
    thread.join(PROBE_SECONDS)
    return problems[-1] or None


def torchvision_weights(name: str) -> PublishedWeights:
    """Return torchvision's default ImageNet weights of `name`: those of the V2 recipe if there are any."""
    url = torchvision.models.get_model_weights(name)["DEFAULT"].url
    return PublishedWeights(url, (url.rsplit("/", 1)[-1], f"{name}-imagenet.pth"))


def without_head(state: Mapping[str, Tensor], head: str) -> dict[str, Tensor]:
    """Return `state` without the entries whose keys start with `head`."""
    return {key: value for key, value in state.items() if not key.startswith(head)}


def _hub_folder() -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints"
