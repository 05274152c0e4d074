"""YOLO, compared with a slow loop over cells that follows the paper."""

import math

import pytest
import torch

from tests.helpers.boxes import iou
from tests.helpers.detectors import images, padded
from tests.helpers.yolo import CLASSES, GROUND_TRUTH, in_crowd, random_output
from visionkit.backbones import create_backbone
from visionkit.errors import ConfigError
from visionkit.models.detection.parts.one_stage import AnchorOutput
from visionkit.models.detection.parts.yolo_anchors import YOLOAnchors
from visionkit.models.detection.yolov1 import SquareRootCoder, YOLOv1


@pytest.fixture(scope="module")
def model():
    return YOLOv1(
        create_backbone("resnet18", weights="none", out_stages=["s8"]),
        CLASSES,
        head="convolutional",
        grid=4,
        head_channels=8,
        head_stride=1,
    )


def reference_losses(output, grid=4, side=128):
    """Equation 3, term by term; the object of a cell is the one listed first."""
    cell, loss = side / grid, dict.fromkeys(("loss_box", "loss_objectness", "loss_classifier"), 0.0)
    for image, truth in enumerate(GROUND_TRUTH):
        for row in range(grid):
            for column in range(grid):
                places = [(row * grid + column) * 2 + box for box in range(2)]
                own = [
                    number
                    for number, (x1, y1, x2, y2) in enumerate(truth.boxes.tolist())
                    if int((x1 + x2) / 2 / cell) == column and int((y1 + y2) / 2 / cell) == row
                ]
                responsible = None
                if own:
                    x1, y1, x2, y2 = truth.boxes[own[0]].tolist()
                    overlaps = []
                    for place in places:
                        x, y, w, h = output.deltas[image, place].tolist()
                        center, sides = ((column + x) * cell, (row + y) * cell), (w * w * side, h * h * side)
                        box = [c + sign * s / 2 for sign in (-1, 1) for c, s in zip(center, sides, strict=True)]
                        overlaps.append(iou(box, (x1, y1, x2, y2)))
                    best = max(overlaps)
                    responsible = places[overlaps.index(best)]
                    x, y, w, h = output.deltas[image, responsible].tolist()
                    loss["loss_box"] += 5 * (x - ((x1 + x2) / 2 / cell - column)) ** 2
                    loss["loss_box"] += 5 * (y - ((y1 + y2) / 2 / cell - row)) ** 2
                    loss["loss_box"] += 5 * (w - math.sqrt((x2 - x1) / side)) ** 2
                    loss["loss_box"] += 5 * (h - math.sqrt((y2 - y1) / side)) ** 2
                    loss["loss_objectness"] += (output.logits[image, responsible, 0].item() - best) ** 2
                    for label in range(CLASSES):
                        wanted = float(label == truth.labels[own[0]].item())
                        loss["loss_classifier"] += (output.logits[image, responsible, 1 + label].item() - wanted) ** 2
                square = [column * cell, row * cell, (column + 1) * cell, (row + 1) * cell]
                for place in places:
                    if place != responsible and (own or not in_crowd(square, truth.crowds.tolist())):
                        loss["loss_objectness"] += 0.5 * output.logits[image, place, 0].item() ** 2
    return {name: value / len(GROUND_TRUTH) for name, value in loss.items()}


def test_losses_equal_those_of_a_loop_over_cells(model):
    anchors, _ = YOLOAnchors(per_cell=2).grid((128, 128), [torch.zeros(1, 1, 4, 4)])
    output = random_output(anchors)
    losses = model.losses(output, padded(GROUND_TRUTH))
    for name, value in reference_losses(output).items():
        assert losses[name].item() == pytest.approx(value, rel=1e-4), name


def test_box_computed_by_hand():
    """The middle of cell (2, 1) of 64 pixels in an image of 448; 0.5 ** 2 and 1 of the image's sides."""
    cells = torch.tensor([[128.0, 64.0, 192.0, 128.0]])
    code = torch.tensor([[0.5, 0.25, 0.5, 1.0]])
    box = torch.tensor([[160.0 - 56, 80.0 - 224, 160.0 + 56, 80.0 + 224]])
    torch.testing.assert_close(SquareRootCoder(7).decode(code, cells), box)
    torch.testing.assert_close(SquareRootCoder(7).encode(box, cells), code)


def test_scores_computed_by_hand(model):
    logits = torch.tensor([[[0.5, 0.5, -1.0, 2.0]]])
    output = AnchorOutput(torch.zeros(1, 4), [1], logits, torch.zeros(1, 1, 4))
    torch.testing.assert_close(model.scores(output)[0, 0], torch.tensor([0.25, 0.0, 0.5]))


def test_output_of_the_paper_is_7_x_7_x_30():
    with torch.device("meta"):
        network = YOLOv1(create_backbone("resnet18", weights="checkpoint", out_stages=["s32"]), 20).eval()
        levels = list(network.neck(network.backbone(torch.zeros(1, 3, 448, 448))).values())
        assert levels[0].shape == (1, 1024, 7, 7)
        assert network.head.layers(levels[0]).shape == (1, 30, 7, 7)
        layers = sum(parameter.numel() for parameter in network.head.parameters())
    assert layers == (7 * 7 * 1024 + 1) * 4096 + (4096 + 1) * 7 * 7 * 30
    anchors, _ = network.anchors.grid((448, 448), [torch.zeros(1, 1, 7, 7)])
    assert len(anchors) == 98


def test_connected_head_divides_images_of_any_size_and_has_dropout_in_training():
    torch.manual_seed(0)
    backbone = create_backbone("resnet18", weights="none", out_stages=["s32"])
    network = YOLOv1(backbone, 2, head_channels=8, hidden=16, grid=3).eval()
    with torch.no_grad():
        for size in ((64, 64), (96, 160)):
            _, output = network._anchor_output(images(size))
            assert output.anchors.shape == (18, 4)
            assert output.anchors[-1, 2:].tolist() == pytest.approx([size[1], size[0]])
        logits, again = (network._anchor_output(images((64, 64)))[1].logits for _ in range(2))
        assert torch.equal(logits, again)
        network.head.train()
        logits, again = (network._anchor_output(images((64, 64)))[1].logits for _ in range(2))
        assert not torch.equal(logits, again)


@pytest.mark.parametrize(
    ("options", "message"), [({"grid": 0}, "grid=0"), ({"head": "conected"}, "did you mean fully_connected")]
)
def test_invalid_options_are_refused(options, message):
    with torch.device("meta"), pytest.raises(ConfigError, match=message):
        YOLOv1(create_backbone("resnet18", weights="checkpoint"), 3, **options)
