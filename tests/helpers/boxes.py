"""Random boxes with scores and labels, and a slow IoU."""

import torch
from hypothesis import strategies as st

from visionkit.ops.nms import Candidates


@st.composite
def candidates(draw, most=25):
    """Boxes on a coarse grid with coarse scores, so that equal boxes and equal scores are frequent."""
    number = draw(st.integers(0, most))
    rows = draw(
        st.lists(st.tuples(*[st.integers(0, 6)] * 2, *[st.integers(1, 5)] * 2), min_size=number, max_size=number)
    )
    scores = draw(st.lists(st.integers(1, 20), min_size=number, max_size=number))
    labels = draw(st.lists(st.integers(0, 2), min_size=number, max_size=number))
    boxes = torch.tensor([(x, y, x + w, y + h) for x, y, w, h in rows], dtype=torch.float32).view(-1, 4)
    return Candidates(boxes, torch.tensor(scores) / 20, torch.tensor(labels, dtype=torch.int64))


def iou(one, other):
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    both = max(width, 0) * max(height, 0)
    return both / ((one[2] - one[0]) * (one[3] - one[1]) + (other[2] - other[0]) * (other[3] - other[1]) - both)
