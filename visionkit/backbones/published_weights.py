"""Where published ImageNet weights lie: in folders of this machine, or at an address to fetch them from."""

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
"""How long an address may take to answer before the network counts as absent."""


class UnavailableError(CheckpointError):
    """Published weights that are neither on disk nor can be fetched now."""


@dataclass(frozen=True)
class PublishedWeights:
    """One published file.

    Attributes:
        url: its address.
        file_names: names it may have on disk; a download gets the first. A name with a hash
            ("resnet50-11ad3fa6.pth") is checked against it when it is downloaded.
        cached: the file in another library's own cache, if it is there.
    """

    url: str
    file_names: tuple[str, ...]
    cached: Path | None = None

    def on_disk(self) -> Path | None:
        """The file in $VISIONKIT_WEIGHTS, torch hub's folder or the other cache, in this order; None if nowhere."""
        places = [folder / name for folder in weight_folders() for name in self.file_names]
        if self.cached is not None:
            places.append(self.cached)
        return next((place for place in places if place.is_file()), None)

    def obtain(self) -> Path:
        """The file on disk, fetched into torch hub's folder where it is missing.

        Raises:
            UnavailableError: it can neither be found nor fetched; the message says where it was looked for.
        """
        found = self.on_disk()
        if found is not None:
            return found
        try:
            return self._fetch()
        except (OSError, HTTPException, RuntimeError) as reason:  # a wrong hash is a RuntimeError
            folders = ", ".join(str(folder) for folder in weight_folders())
            raise UnavailableError(
                f"{self.file_names[0]} is not in {folders}\n"
                f"and could not be fetched from {self.url}: {reason}\n"
                "Put the file into one of these folders, or name one in $VISIONKIT_WEIGHTS."
            ) from reason

    def _fetch(self) -> Path:
        if os.environ.get("VISIONKIT_OFFLINE", "0") not in ("", "0"):
            raise OSError("VISIONKIT_OFFLINE forbids it")
        problem = unreachable(self.url)
        if problem is not None:
            raise OSError(problem)
        target = _hub_folder() / self.file_names[0]
        target.parent.mkdir(parents=True, exist_ok=True)
        stated_hash = torch.hub.HASH_REGEX.search(target.name)
        torch.hub.download_url_to_file(self.url, str(target), stated_hash.group(1) if stated_hash else None)
        return target


def weight_folders() -> list[Path]:
    """Folders in which published weights are looked for: $VISIONKIT_WEIGHTS if set, then torch hub's own.

    Raises:
        CheckpointError: $VISIONKIT_WEIGHTS is set but is not a folder.
    """
    own = os.environ.get("VISIONKIT_WEIGHTS")
    if not own:
        return [_hub_folder()]
    if not Path(own).is_dir():
        raise CheckpointError(f"$VISIONKIT_WEIGHTS is {own!r}, which is not a folder: correct or unset it")
    return [Path(own), _hub_folder()]


@functools.cache
def unreachable(url: str) -> str | None:
    """Why `url` does not answer within `PROBE_SECONDS`, or None if it does.

    Asked in a thread of its own, because a name server that does not answer keeps to no timeout.
    """
    answer = [f"no answer within {PROBE_SECONDS:g} s"]

    def ask() -> None:
        try:
            with urlopen(Request(url, method="HEAD"), timeout=PROBE_SECONDS):
                answer.append("")
        except (OSError, HTTPException) as reason:
            answer.append(str(reason))

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(PROBE_SECONDS)
    return answer[-1] or None


def torchvision_weights(name: str) -> PublishedWeights:
    """Torchvision's default ImageNet weights of `name`: the V2 recipe where there is one, else the original."""
    url = torchvision.models.get_model_weights(name)["DEFAULT"].url
    return PublishedWeights(url, (url.rsplit("/", 1)[-1], f"{name}-imagenet.pth"))


def without_head(state: Mapping[str, Tensor], head: str) -> dict[str, Tensor]:
    """`state` without the entries whose key starts with `head`."""
    return {key: value for key, value in state.items() if not key.startswith(head)}


def _hub_folder() -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints"
