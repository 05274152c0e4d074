"""Report of the proposals of a split: numbers of proposals and recall of the objects, computed by several processes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from visionkit.data.datasets.base import VisionDataset
from visionkit.data.proposals.proposal_source import ProposalSource
from visionkit.ops.proposal_recall import best_overlaps, recall_at

COUNTS = (10, 100, 300, 500, 1000, 2000, 5000, 10000)
"""Numbers of proposals at which recall is reported, up to the number that the images have."""


@dataclass
class ProposalReport:
    """Statistics of the proposals of a split.

    Attributes:
        numbers: number of proposals of each image.
        overlaps: for each image float32 [N, C], best IoU of each object with the first `COUNTS[c]` proposals.
    """

    numbers: list[int] = field(default_factory=list)
    overlaps: list[Tensor] = field(default_factory=list)

    def lines(self, iou: float = 0.5) -> Iterator[str]:
        """Yield the lines of the report as text."""
        overlaps = torch.cat([torch.zeros(0, len(COUNTS)), *self.overlaps])
        most = max(self.numbers, default=0)
        mean = sum(self.numbers) / max(len(self.numbers), 1)
        without = self.numbers.count(0)
        yield f"{len(self.numbers)} images, {mean:.0f} proposals each, {most} at most, {without} images without any"
        if not len(overlaps):
            yield "no objects to compare them with"
            return
        yield f"{len(overlaps)} objects, without difficult ones and crowds; share of them with a proposal of IoU {iou}:"
        recalls, means = recall_at(overlaps, iou).tolist(), overlaps.mean(dim=0).tolist()
        for place, count in enumerate(COUNTS):
            if place == 0 or COUNTS[place - 1] < most:
                yield f"first {count:>5}: {recalls[place]:.3f}, mean best IoU {means[place]:.3f}"


class _Surveyed(Dataset[tuple[int, Tensor]]):
    """Dataset of the number of proposals of each image and the best IoUs of its objects."""

    def __init__(self, dataset: VisionDataset, source: ProposalSource) -> None:
        self.dataset, self.source = dataset, source

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[int, Tensor]:
        sample = self.dataset[index]
        annotation = sample.annotation
        proposals = torch.from_numpy(self.source(sample.image, sample.image_id))
        objects = torch.from_numpy(annotation.boxes[~annotation.difficult & ~annotation.crowd])
        return len(proposals), best_overlaps(proposals, objects, COUNTS)


def measure_proposals(dataset: VisionDataset, source: ProposalSource, processes: int) -> Iterator[tuple[int, Tensor]]:
    """Compute the proposals of a split and compare them with its objects. `source` may cache the proposals.

    Args:
        dataset: dataset of the split.
        source: source of the proposals.
        processes: number of worker processes; 0 computes in this process.

    Yields:
        For each image, in order, the number of its proposals and the best IoUs [N, C] of its objects.
    """
    loader = DataLoader(
        _Surveyed(dataset, source), batch_size=None, num_workers=processes, worker_init_fn=_one_core_each
    )
    yield from loader


def summarize_proposals(found: Sequence[tuple[int, Tensor]]) -> ProposalReport:
    """Return the report of the results of `measure_proposals`."""
    return ProposalReport([number for number, _ in found], [overlaps for _, overlaps in found])


def _one_core_each(worker: int) -> None:
    import cv2

    cv2.setNumThreads(0)  # thread pools of several workers would compete for the cores
