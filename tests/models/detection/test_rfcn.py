import math

import pytest
import torch
from torch.nn import functional

from tests.helpers.options import merge_options
from tests.models.detection.networks import THEIR_NAMES, images, target
from visionkit.backbones import create_backbone
from visionkit.errors import CheckpointError, ConfigError
from visionkit.models import create_model
from visionkit.models.detection.parts.batch import split_targets
from visionkit.models.detection.parts.position_sensitive import BOXES, SCORES, PositionSensitiveRoIHeads
from visionkit.models.detection.parts.roi_heads import RoIOptions, RoISample
from visionkit.ops.nms import NMSOptions

LOSSES = list(THEIR_NAMES)
SMALL = {
    "head_channels": 32,
    "rpn": {"pre_nms_top_n_train": 100, "post_nms_top_n_train": 40},
    "roi": {"batch_size": 16},
}
TWO = images((100, 128), (90, 70))
TWO_TARGETS = [
    target([[10, 10, 60, 70], [30, 40, 90, 100], [5, 80, 25, 95]], [0, 2, 1]),
    target([[20, 5, 69, 60]], [1]),
]
REGIONS = [
    torch.tensor([[0, 0, 64, 80], [13, 22, 70, 51], [30.0, 30, 33, 34], [-19, 60, 40, 200]]),
    torch.tensor([[8, 4, 60.0, 44]]),
]


def small_network(**options):
    torch.manual_seed(0)
    backbone = create_backbone("resnet18", weights="none", out_stages=["s16"])
    return create_model("rfcn", backbone, 3, **merge_options(SMALL, options))


def without_values(name="resnet101", num_classes=20, **options):
    with torch.device("meta"):
        backbone = create_backbone(name, weights="checkpoint", **options)
        return create_model("rfcn", backbone, num_classes)


def heads(batch_size=2, **options):
    defaults = {"pooling": "average", "cells": 3, "stride": 8, "num_classes": 2, "ohem": True}
    options = {**defaults, "options": RoIOptions(batch_size=batch_size), "nms": NMSOptions(), **options}
    return PositionSensitiveRoIHeads(**options)


def cells_by_hand(region, cells, stride, height, width):
    """Rows and columns of the map that each cell of a region covers (section 2, equation 1), its edges rounded."""
    x1, y1, x2, y2 = (math.floor(edge / stride + 0.5) for edge in region)
    rows, columns = max(y2 - y1, 1), max(x2 - x1, 1)
    for i in range(cells):
        for j in range(cells):
            top, bottom = y1 + math.floor(i * rows / cells), y1 + math.ceil((i + 1) * rows / cells)
            left, right = x1 + math.floor(j * columns / cells), x1 + math.ceil((j + 1) * columns / cells)
            yield i, j, range(max(top, 0), min(bottom, height)), range(max(left, 0), min(right, width))


def votes_by_hand(scores, regions, classes, cells=3, stride=8):
    """Map (c k + i) k + j speaks for class c in row i and column j of a region; the cells vote by their mean."""
    _, _, height, width = scores.shape
    rows = []
    for image, boxes in enumerate(regions):
        for region in boxes.tolist():
            votes = [0.0] * classes
            for i, j, ys, xs in cells_by_hand(region, cells, stride, height, width):
                for c in range(classes):
                    own = scores[image, (c * cells + i) * cells + j]
                    values = [own[y, x].item() for y in ys for x in xs]
                    votes[c] += sum(values) / len(values) / cells**2 if values else 0.0
            rows.append(votes)
    return torch.tensor(rows)


def test_votes_equal_those_counted_by_hand():
    torch.manual_seed(0)
    maps = {SCORES: torch.randn(2, 27, 12, 10), BOXES: torch.randn(2, 36, 12, 10)}
    logits, deltas = heads()(maps, REGIONS)
    torch.testing.assert_close(logits, votes_by_hand(maps[SCORES], REGIONS, 3), atol=1e-5, rtol=1e-4)
    boxes = votes_by_hand(maps[BOXES], REGIONS, 4)
    assert deltas.shape == (5, 3, 4)
    for label in range(3):
        torch.testing.assert_close(deltas[:, label], boxes, atol=1e-5, rtol=1e-4)


def test_the_last_row_and_column_of_a_map_vote():
    ones = {SCORES: torch.ones(1, 27, 4, 4), BOXES: torch.ones(1, 36, 4, 4)}
    logits, _ = heads()(ones, [torch.tensor([[24.0, 24, 32, 32], [0, 0, 32, 32]])])
    torch.testing.assert_close(logits, torch.ones(2, 3))


@pytest.mark.parametrize("pooling", ["average", "align"])
def test_each_cell_reads_its_own_maps(pooling):
    """Only the map of class 1, row 2, column 0 speaks: a ninth of its vote goes to class 1, nothing to the others."""
    scores = torch.zeros(1, 27, 12, 12)
    scores[:, (1 * 3 + 2) * 3 + 0] = 9.0
    logits, _ = heads(pooling=pooling)(
        {SCORES: scores, BOXES: torch.zeros(1, 36, 12, 12)}, [torch.tensor([[8.0, 8, 80, 80]])]
    )
    torch.testing.assert_close(logits, torch.tensor([[0.0, 1.0, 0.0]]))


def test_aligned_cells_are_read_between_the_places_of_the_map():
    """On a map that rises by one a column, the mean of all cells is the region's middle, to the fraction."""
    ramp = torch.arange(16.0).expand(1, 27, 16, 16).contiguous()
    regions = [torch.tensor([[20.0, 20, 83, 84], [21, 20, 84, 84]])]
    logits, _ = heads(pooling="align")({SCORES: ramp, BOXES: torch.zeros(1, 36, 16, 16)}, regions)
    middle = torch.tensor([51.5, 52.5]) / 8 - 0.5
    torch.testing.assert_close(logits, middle[:, None].expand(-1, 3))


def test_the_hardest_regions_of_each_image_are_learned_from():
    """Background all of them; the loss of each is known by its logits, and only the two worst of an image move."""
    logits = torch.zeros(7, 3)
    logits[:, 0] = torch.tensor([4.0, -1.0, 3.0, -2.0, 0.5, 5.0, -3.0])
    logits.requires_grad_()
    sample = RoISample(
        [torch.zeros(5, 4), torch.zeros(2, 4)],
        torch.zeros(7, dtype=torch.int64),
        torch.zeros(0, 4),
        [torch.zeros(0)] * 2,
    )
    losses = heads().losses(logits, torch.zeros(7, 3, 4), sample)
    each = functional.cross_entropy(logits, sample.classes, reduction="none")
    assert losses["loss_classifier"].item() == pytest.approx(each[[1, 3, 5, 6]].mean().item())
    losses["loss_classifier"].backward()
    assert logits.grad.abs().sum(dim=1).nonzero().flatten().tolist() == [1, 3, 5, 6]
    assert heads(ohem=False).losses(logits, torch.zeros(7, 3, 4), sample)["loss_classifier"].item() == pytest.approx(
        each.mean().item()
    )


def test_a_wrong_box_is_hard_as_well():
    """Of three objects with equal scores the one whose box is worst is taken."""
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 10, 10]])
    truth = torch.tensor([[0.0, 0, 10, 10], [0, 0, 20, 20], [0, 0, 11, 10]])
    sample = RoISample([boxes], torch.tensor([1, 2, 1]), truth, [torch.arange(3)])
    deltas = torch.zeros(3, 3, 4, requires_grad=True)
    losses = heads(batch_size=1).losses(torch.zeros(3, 3), deltas, sample)
    # center .5 of a side off, code 5; sides doubled, code 5 log 2; each over the bound of smooth L1, minus a half
    assert losses["loss_box"].item() == pytest.approx(2 * (10 * 0.5 - 0.5) + 2 * (5 * math.log(2) - 0.5), rel=1e-5)
    assert losses["loss_classifier"].item() == pytest.approx(math.log(3))
    losses["loss_box"].backward()
    assert deltas.grad.abs().sum(dim=(1, 2)).nonzero().flatten().tolist() == [1]


def test_anchors_that_cross_the_edge_do_not_train():
    network, size = small_network(anchors={"sizes": [[16, 32]]}), (100, 128)
    _, _, scored = network._first_stage(TWO[:1])
    (classes,), _ = network.rpn.anchor_targets(scored.anchors, split_targets(TWO_TARGETS[:1], 3), [size])
    crossing = [x1 < 0 or y1 < 0 or x2 > 128 or y2 > 100 for x1, y1, x2, y2 in scored.anchors.tolist()]
    assert set(classes[torch.tensor(crossing)].tolist()) == {-1}
    assert set(classes.tolist()) == {-1, 0, 1}


@pytest.mark.parametrize("ohem", [True, False])
def test_all_proposals_are_judged_for_the_hardest_or_a_sample_of_them(ohem):
    network = small_network(ohem=ohem, anchors={"sizes": [[16, 32, 64]]}).train()
    judged = []
    network.roi_heads.register_forward_hook(lambda _, inputs, __: judged.extend(map(len, inputs[1])))
    network(TWO, TWO_TARGETS)
    assert (min(judged) > 16) if ohem else (judged == [16, 16])


def test_resnet101_has_the_papers_layers():
    network = without_values(output_stride=16, out_stages=["s16", "s32"])
    assert network.neck.scores.out_channels == 9 * 21
    assert network.neck.boxes.out_channels == 9 * 4
    assert network.neck.reduce.weight.shape == (1024, 2048, 1, 1)
    assert network.rpn.head.cls_logits.out_channels == 9
    convolutions = 44_549_160 - 2_049_000  # torchvision's count, without its 1000 classes
    proposals = 1024 * 1024 * 9 + 1024 + (9 + 36) * 1025
    maps = 2048 * 1024 + 1024 + 9 * (21 + 4) * 1025
    assert sum(value.numel() for value in network.parameters()) == convolutions + proposals + maps
    assert not list(network.roi_heads.parameters())


def test_both_stages_see_maps_of_stride_16():
    network = without_values("resnet50", output_stride=16)
    with torch.device("meta"):
        maps = network.neck(network.backbone(torch.zeros(1, 3, 96, 128)))
    assert {name: tuple(level.shape[1:]) for name, level in maps.items()} == {
        "proposals": (1024, 6, 8),
        "scores": (189, 6, 8),
        "boxes": (36, 6, 8),
    }
    assert network.roi_heads.stride == 16


def test_dilation_keeps_what_conv5_computes():
    """Every other place of the dilated map has the values of the map of stride 32: the hole algorithm."""
    torch.manual_seed(0)
    plain = create_backbone("resnet50", weights="none", out_stages=["s32"]).eval()
    dilated = create_backbone("resnet50", weights="none", out_stages=["s32"], output_stride=16).eval()
    dilated.load_state_dict(plain.state_dict())
    (image,) = images((128, 160))
    with torch.no_grad():
        coarse, fine = (network(image[None])["s32"] for network in (plain, dilated))
    torch.testing.assert_close(fine[..., ::2, ::2], coarse, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("options", [{}, {"pooling": "align"}, {"ohem": False}, {"cells": 2}])
def test_every_parameter_gets_a_gradient(options):
    network = small_network(**options).train()
    losses = network(TWO, TWO_TARGETS)
    assert list(losses) == LOSSES
    sum(losses.values()).backward()
    assert [name for name, value in network.named_parameters() if value.grad is None or not value.grad.any()] == []


@pytest.mark.parametrize("ohem", [True, False])
def test_losses_fall(ohem):
    network = small_network(ohem=ohem, anchors={"sizes": [[32, 64]]}).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    course = []
    for _ in range(15):
        optimizer.zero_grad()
        loss = sum(network(TWO, TWO_TARGETS).values())
        loss.backward()
        optimizer.step()
        course.append(loss.item())
    assert sum(course[-3:]) < 0.7 * sum(course[:3])


@pytest.mark.parametrize("ohem", [True, False])
def test_images_without_objects_teach_background_only(ohem):
    network = small_network(ohem=ohem).train()
    losses = network(TWO, [target(), target()])
    sum(losses.values()).backward()
    assert losses["loss_rpn_box"].item() == losses["loss_box"].item() == 0
    assert all(math.isfinite(value.item()) for value in losses.values())
    assert all(value.grad is not None and value.grad.isfinite().all() for value in network.parameters())
    crowds = [target([[0, 0, 128, 128]], [1], crowd=torch.tensor([True]))] * 2
    losses = network(TWO, crowds)  # no background is left either
    assert losses["loss_classifier"].item() == losses["loss_box"].item() == 0


@pytest.mark.parametrize("size", [(5, 5), (16, 1), (31, 97), (201, 67)])
@pytest.mark.parametrize("pooling", ["average", "align"])
def test_images_of_any_size(size, pooling):
    network = small_network(nms={"score_threshold": 0.0}, pooling=pooling)
    (image,) = images(size)
    height, width = size
    losses = network.train()([image] * 2, [target([[0, 0, width, height]], [1]), target()])
    assert all(math.isfinite(value.item()) for value in losses.values())
    with torch.no_grad():
        (found,) = network.eval()([image])
    assert len(found["boxes"])
    assert (found["boxes"] >= 0).all()
    assert (found["boxes"] <= torch.tensor([width, height] * 2)).all()
    assert (found["scores"].diff() <= 0).all()
    assert set(found["labels"].tolist()) <= {0, 1, 2}


def test_one_validation_forward_gives_what_forward_gives():
    network = small_network(nms={"score_threshold": 0.0}).eval()
    with torch.no_grad():
        losses, predictions = network.losses_and_predictions(TWO, TWO_TARGETS)
        alone = network(TWO)
    assert list(losses) == LOSSES
    torch.testing.assert_close(predictions, alone)


def test_classes_do_not_suppress_each_other_unless_asked():
    kept = []
    for kind in ("per_class", "class_agnostic"):
        network = small_network(nms={"score_threshold": 0.0, "max_detections": 1000, "kind": kind}).eval()
        with torch.no_grad():
            (found,) = network(TWO[:1])
        kept.append(found)
    agnostic = kept[1]["boxes"]
    assert len(kept[0]["boxes"]) > len(agnostic) > 0


@pytest.mark.parametrize(
    ("name", "stages", "remedy"),
    [
        (
            "resnet50",
            None,
            r"s32 of resnet50 has stride 32\nset model.backbone.output_stride=16, or .*out_stages=\[s16\]",
        ),
        ("densenet121", None, r"s32 of densenet121 has stride 32\nset model.backbone.out_stages=\[s16\]"),
        ("resnet18", ["s4"], "needs the stage s16; resnet18 has s4"),
    ],
)
def test_backbones_without_a_fine_map_are_refused(name, stages, remedy):
    with pytest.raises(ConfigError, match=remedy):
        without_values(name, out_stages=stages)


@pytest.mark.parametrize(("name", "stages"), [("vgg16", ["s16"]), ("vgg16_atrous", None), ("densenet121", ["s16"])])
def test_other_backbones_carry_both_stages_on_s16(name, stages):
    network = without_values(name, out_stages=stages)
    assert network.neck.stage == network.neck.proposals_stage == "s16"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pooling": "averge"}, "did you mean average"),
        ({"cells": 0}, "cells=0"),
        ({"roi": {"bg_iou": 0.6}}, r"bg_iou=0\.6, fg_iou=0\.5 must rise"),
        ({"anchors": {"sizes": [[32], [64]]}}, "2 levels"),
        ({"nms": {"kind": "class_agnostc"}}, "class_agnostic"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        small_network(**options)


def test_its_spec_and_its_checkpoint_build_it_again(tmp_path):
    network = small_network(pooling="align", cells=2, nms={"score_threshold": 0.0})
    torch.save(network.state_dict(), tmp_path / "rfcn.pth")
    spec = {**network.spec, "weights": str(tmp_path / "rfcn.pth")}
    again = create_model(**{**spec, "backbone": create_backbone(**network.spec["backbone"])})
    with torch.no_grad():
        both = [one.eval()(TWO) for one in (network, again)]
    torch.testing.assert_close(*both)
    with pytest.raises(CheckpointError, match="does not fit RFCN"):
        small_network(weights=str(tmp_path / "rfcn.pth"))
