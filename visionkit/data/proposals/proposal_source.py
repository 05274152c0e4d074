"""Sources of proposals: selective search with a cache on disk, or a proposal file."""

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
from visionkit.option_checks import check_at_least

Boxes = NDArray[np.float32]

CACHE = "runs/proposals"


@dataclass
class ProposalOptions:
    """Object proposals for a detector that does not compute its own.

    Attributes:
        mode: mode of selective search: "single", "fast" or "quality".
        count: maximum number of proposals per image; the best ranked are kept (Girshick 2013 and 2015: about 2000).
        folder: folder of the cache of computed proposals, whose keys are the contents of the images; empty disables it.
        file: .npz or .json with the proposals of all images by image id; None computes them. In prediction images
            have no id, so their proposals are always computed.

    Raises:
        ConfigError: the mode does not exist, or `count` is below 1.

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

    def __post_init__(self) -> None:
        search_modes.get(self.mode)
        check_at_least(1, count=self.count)


class ProposalSource(Protocol):
    """Interface of functions that return the proposals of one image."""

    def __call__(self, image: ImageArray, image_id: int | str) -> Boxes:
        """Return the proposals of an image, float32 [P, 4], xyxy in pixels of the image, best first; P may be 0."""
        ...

    def check(self, dataset: VisionDataset, split: str) -> None:
        """Check the proposals of a split before a run, so that the run does not fail later.

        Raises:
            DataError: an image of the split has no proposals, or its proposals lie outside of it.
        """
        ...


class SelectiveSearchProposals:
    """Proposals by selective search, which runs once per image if a cache folder is given.

    Args:
        options: mode, number of proposals and folder; an empty `folder` disables the cache.
    """

    def __init__(self, options: ProposalOptions) -> None:
        self.mode, self.count = options.mode, options.count
        self.cache = BoxCache(Path(options.folder), f"selective_search {options.mode}") if options.folder else None

    def __call__(self, image: ImageArray, image_id: int | str = "") -> Boxes:
        """See `ProposalSource`; the id is not used."""
        if self.cache is None:
            return selective_search(image, self.mode)[: self.count]
        return self.cache.get(image, lambda: selective_search(image, self.mode))[: self.count]

    def check(self, dataset: VisionDataset, split: str) -> None:
        """See `ProposalSource`; selective search needs no check."""


class FileProposals:
    """Proposals from a file.

    Args:
        options: file and number of proposals.
    """

    def __init__(self, options: ProposalOptions) -> None:
        self.file, self.count = ProposalFile(Path(options.file or "")), options.count

    def __call__(self, image: ImageArray, image_id: int | str) -> Boxes:
        """See `ProposalSource`."""
        return self.file.boxes(image_id, *image.shape[:2])[: self.count]

    def check(self, dataset: VisionDataset, split: str) -> None:
        """See `ProposalSource`."""
        self.file.check(dataset, split)


def create_proposal_source(options: ProposalOptions) -> ProposalSource:
    """Return the source of proposals that the options describe.

    Raises:
        DataError: the file is missing or is not a proposal file.
    """
    return FileProposals(options) if options.file else SelectiveSearchProposals(options)
