import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.ops import box_iou

from visionkit.ops.anchor_iou import best_anchor_iou

lengths = st.floats(0.5, 2000, width=32)
sizes = st.lists(st.tuples(lengths, lengths), min_size=1, max_size=6)


@given(sizes, sizes)
def test_equals_the_best_iou_of_centered_boxes(boxes, anchors):
    boxes, anchors = torch.tensor(boxes), torch.tensor(anchors)

    def centered(size):
        return torch.cat([-size / 2, size / 2], dim=1)

    expected = box_iou(centered(boxes), centered(anchors)).max(dim=1).values
    torch.testing.assert_close(best_anchor_iou(boxes, anchors), expected)


def test_no_boxes_give_an_empty_result():
    assert best_anchor_iou(torch.zeros(0, 2), torch.ones(3, 2)).shape == (0,)


def test_example_computed_by_hand():
    # 20 x 10 under a 10 x 10 anchor: 100 of 200; under 20 x 20: 200 of 400
    assert best_anchor_iou(torch.tensor([[20.0, 10.0]]), torch.tensor([[10.0, 10.0], [5.0, 5.0]])).tolist() == [0.5]
