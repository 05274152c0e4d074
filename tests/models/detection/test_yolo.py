"""YOLO v1 and v2, compared with slow loops over cells and objects that follow the papers."""

import math

import pytest
import torch

from tests.models.detection.networks import images
from visionkit.backbones import create_backbone
from visionkit.errors import ConfigError
from visionkit.models.detection.parts.grid_anchors import GridAnchors, cell_indices, match_cells, match_shapes
from visionkit.models.detection.parts.one_stage import DenseOutput
from visionkit.models.detection.yolov1 import SquareRootCoder, YOLOv1
from visionkit.models.detection.yolov2 import VOC_ANCHORS, SigmoidCoder, YOLOv2
from visionkit.ops.anchor_iou import shape_iou
from visionkit.ops.matching import Objects

CLASSES = 3
SHAPES = [[20.0, 20.0], [40.0, 70.0]]


def objects(boxes, labels, crowds=()):
    def as_boxes(plain):
        return torch.tensor(plain, dtype=torch.float32).view(-1, 4)

    return Objects(as_boxes(boxes), torch.tensor(labels, dtype=torch.int64), as_boxes(crowds))


GROUND_TRUTH = [
    # three objects in one cell, two of them with the same best shape; one in the last cell; a large one
    objects(
        [[70, 8, 88, 30], [64, 5, 90, 28], [66, 2, 94, 63], [100, 100, 127, 126], [2, 4, 90, 120]], [0, 1, 2, 2, 1]
    ),
    objects([], []),
    objects([[10, 20, 50, 90]], [1], crowds=[[60, 0, 128, 60]]),
]


def iou(box, other):
    width = min(box[2], other[2]) - max(box[0], other[0])
    height = min(box[3], other[3]) - max(box[1], other[1])
    shared = max(width, 0) * max(height, 0)
    return shared / ((box[2] - box[0]) * (box[3] - box[1]) + (other[2] - other[0]) * (other[3] - other[1]) - shared)


def in_crowd(box, crowds):
    area = (box[2] - box[0]) * (box[3] - box[1])
    for crowd in crowds:
        width = min(box[2], crowd[2]) - max(box[0], crowd[0])
        height = min(box[3], crowd[3]) - max(box[1], crowd[1])
        if max(width, 0) * max(height, 0) >= 0.5 * area:
            return True
    return False


def random_output(anchors, spread=1.0):
    generator = torch.Generator().manual_seed(5)
    logits = spread * torch.randn(len(GROUND_TRUTH), len(anchors), 1 + CLASSES, generator=generator)
    deltas = 0.5 + 0.2 * torch.randn(len(GROUND_TRUTH), len(anchors), 4, generator=generator)
    return DenseOutput(anchors, [len(anchors)], logits, deltas)


def sigmoid(value):
    return 1 / (1 + math.exp(-value))


@pytest.fixture(scope="module")
def yolov1():
    return YOLOv1(
        create_backbone("resnet18", weights="none", out_stages=["s8"]),
        CLASSES,
        head="convolutional",
        grid=4,
        head_channels=8,
        head_stride=1,
    )


@pytest.fixture(scope="module")
def yolov2():
    backbone = create_backbone("resnet18", weights="none", out_stages=["s16", "s32"])
    return YOLOv2(backbone, CLASSES, anchor_shapes=SHAPES, head_channels=8, passthrough_channels=4)


def reference_losses_of_v1(output, grid=4, side=128):
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


def test_losses_of_v1_are_those_of_a_loop_over_cells(yolov1):
    anchors, _ = GridAnchors(per_cell=2).grid((128, 128), [torch.zeros(1, 1, 4, 4)])
    output = random_output(anchors)
    losses = yolov1.losses(output, GROUND_TRUTH)
    for name, value in reference_losses_of_v1(output).items():
        assert losses[name].item() == pytest.approx(value, rel=1e-4), name


def reference_losses_of_v2(output, grid=4, cell=32):
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


def test_losses_of_v2_are_those_of_a_loop_over_boxes_and_objects(yolov2):
    anchors, _ = GridAnchors(SHAPES).grid((128, 128), [torch.zeros(1, 1, 4, 4)])
    output = random_output(anchors)
    # an unmatched box near an object, which is not counted as background by the threshold of 0.6
    neighbor = 2 * (3 * 4 + 3) + 1
    output.deltas[0, neighbor] = torch.tensor([0.3, 0.3, math.log(27 / 40), math.log(26 / 70)])
    # and one in a crowd whose anchor is mostly outside
    beside_the_crowd = 2 * 1 + 1
    output.deltas[2, beside_the_crowd] = torch.tensor([9.0, 0.3, math.log(27 / 40), math.log(20 / 70)])
    losses = yolov2.losses(output, GROUND_TRUTH)
    for name, value in reference_losses_of_v2(output).items():
        assert losses[name].item() == pytest.approx(value, rel=1e-4), name
    stricter = YOLOv2(yolov2.backbone, CLASSES, anchor_shapes=SHAPES, head_channels=8, noobject_iou=1.0)
    assert stricter.losses(output, GROUND_TRUTH)["loss_objectness"] > losses["loss_objectness"]


def test_a_box_of_v1_by_hand():
    """The middle of cell (2, 1) of 64 pixels in an image of 448; 0.5 ** 2 and 1 of the image's sides."""
    cells = torch.tensor([[128.0, 64.0, 192.0, 128.0]])
    code = torch.tensor([[0.5, 0.25, 0.5, 1.0]])
    box = torch.tensor([[160.0 - 56, 80.0 - 224, 160.0 + 56, 80.0 + 224]])
    torch.testing.assert_close(SquareRootCoder(7).decode(code, cells), box)
    torch.testing.assert_close(SquareRootCoder(7).encode(box, cells), code)


def test_a_box_of_v2_by_hand():
    """Cell (2, 1) of 32 pixels; sigmoid(0) is its middle, sigmoid(log 3) three quarters; twice and half the anchor."""
    anchor = torch.tensor([[80.0 - 10, 48.0 - 20, 80.0 + 10, 48.0 + 20]])
    deltas = torch.tensor([[0.0, math.log(3), math.log(2), -math.log(2)]])
    box = torch.tensor([[80.0 - 20, 56.0 - 10, 80.0 + 20, 56.0 + 10]])
    coder = SigmoidCoder()
    torch.testing.assert_close(coder.decode(deltas, anchor), box)
    torch.testing.assert_close(coder.encode(box, anchor), coder.activate(deltas))
    huge = coder.decode(torch.tensor([[0.0, 0.0, 1e4, 1e4]]), anchor)
    assert huge.isfinite().all()


def test_scores_by_hand(yolov1, yolov2):
    logits = torch.tensor([[[0.0, math.log(2), 0.0, 0.0], [0.5, 0.5, -1.0, 2.0]]])
    output = DenseOutput(torch.zeros(2, 4), [2], logits, torch.zeros(1, 2, 4))
    torch.testing.assert_close(yolov2.scores(output)[0, 0], torch.tensor([0.25, 0.125, 0.125]))
    torch.testing.assert_close(yolov1.scores(output)[0, 1], torch.tensor([0.25, 0.0, 0.5]))


def test_cell_indices_are_those_of_the_centers_even_on_the_edge():
    anchors, _ = GridAnchors(per_cell=2).grid((64, 96), [torch.zeros(1, 1, 2, 3)])
    boxes = torch.tensor([[0.0, 0, 10, 10], [40, 40, 50, 60], [64, 0, 96, 20], [95, 63, 97, 65], [31, 0, 33, 2]])
    assert cell_indices(boxes, anchors).tolist() == [0, 4, 2, 5, 1]
    torch.testing.assert_close(anchors[2 * 4], torch.tensor([32.0, 32.0, 64.0, 64.0]))


def test_of_two_objects_in_one_cell_the_first_is_matched_unless_their_shapes_differ():
    anchors, _ = GridAnchors(SHAPES).grid((64, 64), [torch.zeros(1, 1, 2, 2)])
    two = objects([[5, 5, 25, 25], [4, 4, 24, 24], [0, 0, 30, 60]], [2, 1, 0])
    classes, matched = match_shapes(anchors, two, 2)
    assert classes.tolist() == [3, 1, 0, 0, 0, 0, 0, 0]
    assert matched[:2].tolist() == [0, 2]
    cells, _ = GridAnchors(per_cell=2).grid((64, 64), [torch.zeros(1, 1, 2, 2)])
    classes, matched = match_cells(cells, two, 2)
    assert classes.tolist() == [3, 3, 0, 0, 0, 0, 0, 0]
    assert matched[:2].tolist() == [0, 0]


def test_passthrough_turns_four_positions_into_channels(yolov2):
    neck = yolov2.neck.eval()
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


def test_output_of_v1_is_7_x_7_x_30():
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
            _, output = network._dense_output(images(size))
            assert output.anchors.shape == (18, 4)
            assert output.anchors[-1, 2:].tolist() == pytest.approx([size[1], size[0]])
        logits, again = (network._dense_output(images((64, 64)))[1].logits for _ in range(2))
        assert torch.equal(logits, again)
        network.head.train()
        logits, again = (network._dense_output(images((64, 64)))[1].logits for _ in range(2))
        assert not torch.equal(logits, again)


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (YOLOv2, {"anchor_shapes": ()}, "data anchors"),
        (YOLOv2, {"anchor_shapes": ((10.0, 0.0),)}, "data anchors"),
        (YOLOv1, {"grid": 0}, "grid=0"),
        (YOLOv1, {"head": "conected"}, "did you mean connected"),
    ],
)
def test_invalid_options_are_refused(model, options, message):
    with torch.device("meta"), pytest.raises(ConfigError, match=message):
        model(create_backbone("resnet18", weights="checkpoint"), 3, **options)


def test_v2_needs_both_stages():
    with pytest.raises(ConfigError, match="s16 and s32"):
        YOLOv2(create_backbone("resnet18", weights="none", out_stages=["s32"]), 3)
