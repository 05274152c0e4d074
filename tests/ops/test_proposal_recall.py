import pytest
import torch
from torchvision.ops import box_iou

from visionkit.ops.proposal_recall import best_overlaps, recall_at


def test_best_overlaps_equal_a_loop_over_the_first_boxes():
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(60, 2, 2, generator=generator).sort(dim=1).values * 50
    boxes = corners.flatten(1)
    objects, proposals = boxes[:7], boxes[7:]
    overlaps = best_overlaps(proposals, objects, [0, 1, 5, 53, 1000])
    for column, count in enumerate([0, 1, 5, 53, 1000]):
        for row, box in enumerate(objects):
            expected = max((box_iou(box[None], other[None]).item() for other in proposals[:count]), default=0.0)
            assert overlaps[row, column].item() == pytest.approx(expected)


def test_without_proposals_or_objects():
    assert best_overlaps(torch.zeros(0, 4), torch.ones(3, 4), [5]).tolist() == [[0], [0], [0]]
    assert best_overlaps(torch.ones(3, 4), torch.zeros(0, 4), [5, 6]).shape == (0, 2)


def test_recall_includes_the_threshold():
    assert recall_at(torch.tensor([[0.5, 0.6], [0.4, 0.5]]), 0.5).tolist() == [0.5, 1.0]
    assert recall_at(torch.zeros(0, 1), 0.5).isnan().all()
