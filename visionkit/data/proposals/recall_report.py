"""The proposals of a whole split: computed by several processes, and compared with its objects."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from visionkit.data.datasets.base import VisionDataset
from visionkit.data.proposals.source import ProposalSource
from visionkit.ops.proposal_recall import best_overlaps, recall_at

COUNTS = (10, 100, 300, 500, 1000, 2000, 5000, 10000)
"""Numbers of proposals that recall is told for, as far as the images have so many."""


@dataclass
class ProposalReport:
    """What is known of a split's proposals.

    Attributes:
        numbers: how many proposals each image has.
        overlaps: per image float32 [N, C], the best IoU of each object with the first of `COUNTS` proposals.
    """

    numbers: list[int] = field(default_factory=list)
    overlaps: list[Tensor] = field(default_factory=list)

    def lines(self, iou: float = 0.5) -> Iterator[str]:
        """The results in words."""
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
    """For each image the number of its proposals and the best overlaps of its objects."""

    def __init__(self, reader: VisionDataset, source: ProposalSource) -> None:
        self.reader, self.source = reader, source

    def __len__(self) -> int:
        return len(self.reader)

    def __getitem__(self, index: int) -> tuple[int, Tensor]:
        sample = self.reader[index]
        annotation = sample.annotation
        proposals = torch.from_numpy(self.source(sample.image, sample.image_id))
        objects = torch.from_numpy(annotation.boxes[~annotation.difficult & ~annotation.crowd])
        return len(proposals), best_overlaps(proposals, objects, COUNTS)


def measure_proposals(reader: VisionDataset, source: ProposalSource, processes: int) -> Iterator[tuple[int, Tensor]]:
    """Go through a split; what is computed is kept wherever `source` keeps it.

    Args:
        reader: of the split.
        source: of the proposals.
        processes: that compute; 0 for this one alone.

    Yields:
        For each image, in their order, the number of its proposals and the overlaps [N, C] of its objects.
    """
    loader = DataLoader(
        _Surveyed(reader, source), batch_size=None, num_workers=processes, worker_init_fn=_one_core_each
    )
    yield from loader


def summarize_proposals(found: Sequence[tuple[int, Tensor]]) -> ProposalReport:
    """What `measure_proposals` yielded, in one."""
    return ProposalReport([number for number, _ in found], [overlaps for _, overlaps in found])


def _one_core_each(worker: int) -> None:
    import cv2

    cv2.setNumThreads(0)  # a thread pool in every worker would fight over the cores
