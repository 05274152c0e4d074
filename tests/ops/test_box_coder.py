import math

import pytest
import torch
from torchvision.models.detection._utils import BoxCoder as TorchvisionBoxCoder

from visionkit.ops.box_coder import BoxCoder

WEIGHTS = [(1.0, 1.0), (10.0, 5.0)]


def random_boxes(number, seed):
    corners = 100 * torch.rand(number, 2, generator=torch.Generator().manual_seed(seed))
    sides = 1 + 50 * torch.rand(number, 2, generator=torch.Generator().manual_seed(seed + 1))
    return torch.cat([corners, corners + sides], dim=1)


@pytest.mark.parametrize("weights", WEIGHTS)
def test_equals_torchvisions(weights):
    center, side = weights
    ours, torchvisions = BoxCoder(weights), TorchvisionBoxCoder((center, center, side, side))
    boxes, anchors = random_boxes(200, 0), random_boxes(200, 5)
    assert torch.equal(ours.encode(boxes, anchors), torchvisions.encode_single(boxes, anchors))
    deltas = 3 * torch.randn(200, 4 * 3, generator=torch.Generator().manual_seed(9))
    decoded = ours.decode(deltas.view(200, 3, 4), anchors[:, None])
    assert torch.equal(decoded.flatten(1), torchvisions.decode_single(deltas, anchors))


@pytest.mark.parametrize("weights", WEIGHTS)
def test_decoding_inverts_encoding(weights):
    coder, boxes, anchors = BoxCoder(weights), random_boxes(50, 1), random_boxes(50, 3)
    torch.testing.assert_close(coder.decode(coder.encode(boxes, anchors), anchors), boxes)


def test_example_computed_by_hand():
    anchor, box = torch.tensor([[0.0, 0, 10, 20]]), torch.tensor([[5.0, 10, 25, 20]])
    expected = torch.tensor([[1.0, 0.25, math.log(2), math.log(0.5)]])
    torch.testing.assert_close(BoxCoder().encode(box, anchor), expected)


def test_large_deltas_and_empty_inputs():
    huge = BoxCoder().decode(torch.full((1, 4), 1e4), torch.tensor([[0.0, 0, 10, 10]]))
    assert huge.isfinite().all()
    assert BoxCoder().decode(torch.zeros(0, 4), torch.zeros(0, 4)).shape == (0, 4)
    half = BoxCoder().decode(torch.zeros(2, 4, dtype=torch.bfloat16), torch.ones(2, 4))
    assert half.dtype == torch.bfloat16
