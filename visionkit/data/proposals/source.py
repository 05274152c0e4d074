"""Where an image's proposals come from: computed once and kept on disk, or read from a file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from visionkit.data.datasets.base import VisionDataset
from visionkit.data.io.images import ImageArray
from visionkit.data.proposals.box_cache import BoxCache
from visionkit.data.proposals.proposal_file import ProposalFile
from visionkit.data.proposals.selective_search import search_modes, selective_search
from visionkit.errors import ConfigError

Boxes = NDArray[np.float32]

CACHE = "runs/proposals"


@dataclass
class ProposalOptions:
    """Which regions a detector is given that finds none by itself.

    Attributes:
        mode: of selective search: single, fast or quality.
        count: the best ranked of each image at most (Girshick 2013 and 2015: about 2000).
        folder: where computed proposals are kept; they are found again by the image's content.
        file: proposals of all images, .npz or .json, by image id; None computes them. Images that are
            predicted have no id: for them they are computed in any case.

    Example:
        >>> import visionkit as vk
        >>> options = vk.ProposalOptions(mode="single", count=5, folder="")  # "" keeps none on disk
        >>> splits = {"val": {"count": 1, "size": 64}}
        >>> data = vk.VisionData("shapes", splits=splits, num_workers=0, proposals=options)
        >>> batch = next(iter(data.val_dataloader()))
        >>> batch.targets[0]["proposals"].shape
        torch.Size([5, 4])
    """

    mode: str = "fast"
    count: int = 2000
    folder: str = CACHE
    file: str | None = None


class ProposalSource(Protocol):
    """Gives the proposals of one image."""

    def __call__(self, image: ImageArray, image_id: int | str) -> Boxes:
        """float32 [P, 4], xyxy edges in the image's pixels, the best first; P may be 0."""
        ...

    def check(self, reader: VisionDataset, split: str) -> None:
        """Before a run, refuse what would fail in the middle of it.

        Raises:
            DataError: an image of the split has no proposals, or such as cannot be its own.
        """
        ...


class SelectiveSearchProposals:
    """Selective search, on each image once where a folder is given.

    Args:
        options: mode, number and folder; with `folder` empty nothing is kept.
    """

    def __init__(self, options: ProposalOptions) -> None:
        self.mode, self.count = options.mode, options.count
        self.cache = BoxCache(Path(options.folder), f"selective_search {options.mode}") if options.folder else None

    def __call__(self, image: ImageArray, image_id: int | str = "") -> Boxes:
        """See `ProposalSource`; the id is not needed."""
        if self.cache is None:
            return selective_search(image, self.mode)[: self.count]
        return self.cache.get(image, lambda: selective_search(image, self.mode))[: self.count]

    def check(self, reader: VisionDataset, split: str) -> None:
        """See `ProposalSource`; every image can be searched."""


class FileProposals:
    """Proposals from a file.

    Args:
        options: file and number.
    """

    def __init__(self, options: ProposalOptions) -> None:
        self.file, self.count = ProposalFile(Path(options.file or "")), options.count

    def __call__(self, image: ImageArray, image_id: int | str) -> Boxes:
        """See `ProposalSource`."""
        return self.file.boxes(image_id, *image.shape[:2])[: self.count]

    def check(self, reader: VisionDataset, split: str) -> None:
        """See `ProposalSource`."""
        self.file.check(reader, split)


def create_proposal_source(options: ProposalOptions) -> ProposalSource:
    """What `options` describe.

    Raises:
        ConfigError: there is no such mode, or fewer than one proposal is wanted.
        DataError: the file is missing or no file of proposals.
    """
    search_modes.get(options.mode)
    if options.count < 1:
        raise ConfigError(f"data.proposals.count={options.count}: at least one region of each image is needed")
    return FileProposals(options) if options.file else SelectiveSearchProposals(options)
