"""YOLOv2, compared with a slow loop over boxes and objects that follows the authors' code."""

import math

import pytest
import torch

from tests.helpers.boxes import iou
from tests.helpers.detectors import padded
from tests.helpers.yolo import CLASSES, GROUND_TRUTH, SHAPES, in_crowd, random_output
from visionkit.backbones import create_backbone
from visionkit.errors import ConfigError
from visionkit.models.detection.parts.one_stage import AnchorOutput
from visionkit.models.detection.parts.yolo_anchors import YOLOAnchors
from visionkit.models.detection.yolov2 import VOC_ANCHORS, SigmoidCoder, YOLOv2
from visionkit.ops.anchor_iou import shape_iou


def sigmoid(value):
    return 1 / (1 + math.exp(-value))


@pytest.fixture(scope="module")
def model():
    backbone = create_backbone("resnet18", weights="none", out_stages=["s16", "s32"])
    return YOLOv2(backbone, CLASSES, anchor_shapes=SHAPES, head_channels=8, passthrough_channels=4)


def reference_losses(output, grid=4, cell=32):
    """The authors' region layer, object by object and box by box."""
    loss = dict.fromkeys(("loss_box", "loss_objectness", "loss_classifier"), 0.0)
    for image, truth in enumerate(GROUND_TRUTH):
        boxes, anchor_boxes = [], []
        for place in range(grid * grid * len(SHAPES)):
            column, row = place // len(SHAPES) % grid, place // len(SHAPES) // grid
            width, height = SHAPES[place % len(SHAPES)]
            x, y, w, h = output.deltas[image, place].tolist()
            center = ((column + sigmoid(x)) * cell, (row + sigmoid(y)) * cell)
            sides = (width * math.exp(w), height * math.exp(h))
            boxes.append([c + sign * s / 2 for sign in (-1, 1) for c, s in zip(center, sides, strict=True)])
            middle = ((column + 0.5) * cell, (row + 0.5) * cell)
            anchor_boxes.append(
                [c + sign * s / 2 for sign in (-1, 1) for c, s in zip(middle, (width, height), strict=True)]
            )
        matched_objects = {}
        for number, (x1, y1, x2, y2) in enumerate(truth.boxes.tolist()):
            column, row = int((x1 + x2) / 2 / cell), int((y1 + y2) / 2 / cell)
            fits = [iou((0, 0, *shape), (0, 0, x2 - x1, y2 - y1)) for shape in SHAPES]
            matched_objects.setdefault((row * grid + column) * len(SHAPES) + fits.index(max(fits)), number)
        for place, box in enumerate(boxes):
            objectness = sigmoid(output.logits[image, place, 0].item())
            if place not in matched_objects:
                near = any(iou(box, other) > 0.6 for other in truth.boxes.tolist())
                if not near and not any(
                    in_crowd(region, truth.crowds.tolist()) for region in (box, anchor_boxes[place])
                ):
                    loss["loss_objectness"] += 0.5 * objectness**2
                continue
            x1, y1, x2, y2 = truth.boxes[matched_objects[place]].tolist()
            column, row = place // len(SHAPES) % grid, place // len(SHAPES) // grid
            width, height = SHAPES[place % len(SHAPES)]
            x, y, w, h = output.deltas[image, place].tolist()
            weight = 0.5 * (2 - (x2 - x1) / (grid * cell) * (y2 - y1) / (grid * cell))
            loss["loss_box"] += weight * (sigmoid(x) - ((x1 + x2) / 2 / cell - column)) ** 2
            loss["loss_box"] += weight * (sigmoid(y) - ((y1 + y2) / 2 / cell - row)) ** 2
            loss["loss_box"] += weight * (w - math.log((x2 - x1) / width)) ** 2
            loss["loss_box"] += weight * (h - math.log((y2 - y1) / height)) ** 2
            loss["loss_objectness"] += 0.5 * 5 * (objectness - iou(box, (x1, y1, x2, y2))) ** 2
            logits = output.logits[image, place, 1:].tolist()
            total = math.log(sum(math.exp(value) for value in logits))
            loss["loss_classifier"] += total - logits[truth.labels[matched_objects[place]].item()]
    return {name: value / len(GROUND_TRUTH) for name, value in loss.items()}


def test_losses_equal_those_of_a_loop_over_boxes_and_objects(model):
    anchors, _ = YOLOAnchors(SHAPES).grid((128, 128), [torch.zeros(1, 1, 4, 4)])
    output = random_output(anchors)
    # an unmatched box near an object, which is not counted as background by the threshold of 0.6
    neighbor = 2 * (3 * 4 + 3) + 1
    output.deltas[0, neighbor] = torch.tensor([0.3, 0.3, math.log(27 / 40), math.log(26 / 70)])
    # and one in a crowd whose anchor is mostly outside
    beside_the_crowd = 2 * 1 + 1
    output.deltas[2, beside_the_crowd] = torch.tensor([9.0, 0.3, math.log(27 / 40), math.log(20 / 70)])
    losses = model.losses(output, padded(GROUND_TRUTH))
    for name, value in reference_losses(output).items():
        assert losses[name].item() == pytest.approx(value, rel=1e-4), name
    stricter = YOLOv2(model.backbone, CLASSES, anchor_shapes=SHAPES, head_channels=8, noobject_iou=1.0)
    assert stricter.losses(output, padded(GROUND_TRUTH))["loss_objectness"] > losses["loss_objectness"]


def test_box_computed_by_hand():
    """Cell (2, 1) of 32 pixels; sigmoid(0) is its middle, sigmoid(log 3) three quarters; twice and half the anchor."""
    anchor = torch.tensor([[80.0 - 10, 48.0 - 20, 80.0 + 10, 48.0 + 20]])
    deltas = torch.tensor([[0.0, math.log(3), math.log(2), -math.log(2)]])
    box = torch.tensor([[80.0 - 20, 56.0 - 10, 80.0 + 20, 56.0 + 10]])
    coder = SigmoidCoder()
    torch.testing.assert_close(coder.decode(deltas, anchor), box)
    torch.testing.assert_close(coder.encode(box, anchor), coder.activate(deltas))
    huge = coder.decode(torch.tensor([[0.0, 0.0, 1e4, 1e4]]), anchor)
    assert huge.isfinite().all()


def test_scores_computed_by_hand(model):
    logits = torch.tensor([[[0.0, math.log(2), 0.0, 0.0]]])
    output = AnchorOutput(torch.zeros(1, 4), [1], logits, torch.zeros(1, 1, 4))
    torch.testing.assert_close(model.scores(output)[0, 0], torch.tensor([0.25, 0.125, 0.125]))


def test_passthrough_turns_four_positions_into_channels(model):
    neck = model.neck.eval()
    maps = {"s16": torch.randn(1, 256, 4, 6), "s32": torch.randn(1, 512, 2, 3)}
    with torch.no_grad():
        fine = neck.fine(maps["s16"])
        expected = torch.stack([fine[0, :, y::2, x::2] for y in (0, 1) for x in (0, 1)], dim=1).flatten(0, 1)
        joined = neck.joined(torch.cat([expected[None], neck.coarse(maps["s32"])], dim=1))
        torch.testing.assert_close(neck(maps)["s32"], joined)


def test_default_anchors_are_those_of_the_authors_file():
    cells = [[1.3221, 1.73145], [3.19275, 4.00944], [5.05587, 8.09892], [9.47112, 4.84053], [11.2364, 10.0071]]
    torch.testing.assert_close(torch.tensor(VOC_ANCHORS) / 32, torch.tensor(cells), atol=2e-3, rtol=0)
    assert shape_iou(torch.tensor(VOC_ANCHORS), torch.tensor(VOC_ANCHORS)).diagonal().tolist() == pytest.approx([1] * 5)


@pytest.mark.parametrize("shapes", [(), ((10.0, 0.0),), ((10.0,),)])
def test_invalid_anchor_shapes_are_refused(shapes):
    with torch.device("meta"), pytest.raises(ConfigError, match="data anchors"):
        YOLOv2(create_backbone("resnet18", weights="checkpoint"), 3, anchor_shapes=shapes)


def test_both_stages_are_needed():
    with pytest.raises(ConfigError, match="s16 and s32"):
        YOLOv2(create_backbone("resnet18", weights="none", out_stages=["s32"]), 3)
