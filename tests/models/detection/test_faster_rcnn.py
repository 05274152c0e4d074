import math

import pytest
import torch
from torch import nn
from torchvision.ops import box_iou

from tests.models.detection.networks import (
    THEIR_NAMES,
    assert_learns_alike,
    images,
    small_network,
    target,
    torchvision_reference,
)
from visionkit.backbones import create_backbone
from visionkit.errors import ConfigError, DataError, VisionkitError
from visionkit.models import create_model
from visionkit.models.detection.faster_rcnn import PUBLISHED, FasterRCNN
from visionkit.models.detection.parts.batch import filter_detections
from visionkit.models.detection.parts.roi_heads import RoISample
from visionkit.models.load_model import load_strict
from visionkit.ops.matching import assign
from visionkit.ops.nms import Candidates

LOSSES = list(THEIR_NAMES)
FORMS = ["fpn", "single", "c4"]

TWO = images((100, 128), (90, 70))
TWO_TARGETS = [
    target([[10, 10, 60, 70], [30, 40, 90, 100], [5, 80, 25, 95]], [0, 2, 1]),
    target([[20, 5, 69, 60]], [1]),
]


@pytest.fixture
def pair():
    """torchvision's network and ours with its values."""
    reference = torchvision_reference(num_classes=3)
    ours = FasterRCNN(create_backbone("resnet50", weights="none"), 3)
    load_strict(ours, PUBLISHED.translate(reference.state_dict()), "torchvision")
    return reference, ours


def test_losses_and_their_gradients_equal_torchvision(pair):
    assert_learns_alike(*pair, PUBLISHED, THEIR_NAMES, TWO, TWO_TARGETS)


def test_predictions_equal_torchvision(pair):
    reference, ours = (network.eval() for network in pair)
    with torch.no_grad():
        expected, predictions = reference(TWO), ours(TWO)
    for theirs, own in zip(expected, predictions, strict=True):
        assert len(own["boxes"]) > 10
        assert len(set(own["labels"].tolist())) > 1
        torch.testing.assert_close(own["boxes"], theirs["boxes"], atol=1e-3, rtol=1e-4)
        torch.testing.assert_close(own["scores"], theirs["scores"], atol=1e-4, rtol=1e-4)
        assert own["labels"].tolist() == (theirs["labels"] - 1).tolist()


def test_published_defaults_are_torchvisions():
    anchors = FasterRCNN(create_backbone("resnet50", weights="none"), 1).rpn.anchors
    assert anchors.sizes == ((32,), (64,), (128,), (256,), (512,))
    assert anchors.aspect_ratios == ((0.5, 1.0, 2.0),) * 5


@pytest.mark.parametrize("form", FORMS)
def test_every_parameter_gets_a_gradient(form):
    network = small_network(form).train()
    losses = network(TWO, TWO_TARGETS)
    sum(losses.values()).backward()
    assert list(losses) == LOSSES
    assert [name for name, p in network.named_parameters() if p.requires_grad and p.grad is None] == []


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "nothing",
    [
        [target(), target()],
        [target([[0, 0, 128, 128]], [1], crowd=torch.tensor([True]))] * 2,  # no background is left either
    ],
)
def test_images_without_objects_give_finite_losses_and_all_gradients(form, nothing):
    network = small_network(form).train()
    losses = network(TWO, nothing)
    sum(losses.values()).backward()
    assert all(math.isfinite(value.item()) for value in losses.values())
    assert losses["loss_rpn_box"].item() == losses["loss_box"].item() == 0
    gradients = [parameter.grad for parameter in network.parameters()]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("form", FORMS)
def test_predictions_lie_in_their_image_and_fall_in_score(form):
    network = small_network(form, nms={"score_threshold": 0.0}).eval()
    with torch.no_grad():
        predictions = network(TWO)
    for image, prediction in zip(TWO, predictions, strict=True):
        height, width = image.shape[1:]
        boxes = prediction["boxes"]
        assert len(boxes) > 0
        assert (boxes >= 0).all()
        assert (boxes <= torch.tensor([width, height, width, height])).all()
        assert (prediction["scores"].diff() <= 0).all()
        assert prediction["labels"].dtype == torch.int64
        assert set(prediction["labels"].tolist()) <= {0, 1, 2}


def test_one_validation_forward_gives_what_the_two_modes_give():
    network = small_network(nms={"score_threshold": 0.0}).eval()
    runs = []
    network.backbone.register_forward_hook(lambda *_: runs.append(1))
    with torch.no_grad():
        torch.manual_seed(5)
        losses, predictions = network.losses_and_predictions(TWO, TWO_TARGETS)
        assert len(runs) == 1
        assert not any(module.training for module in network.modules())
        expected = network(TWO)
        network.train()
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        torch.manual_seed(5)
        expected_losses = network(TWO, TWO_TARGETS)
    assert losses == expected_losses
    for one, other in zip(predictions, expected, strict=True):
        for key in ("boxes", "scores", "labels"):
            assert torch.equal(one[key], other[key])


def test_validation_leaves_running_statistics_alone():
    network = small_network().eval()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with torch.no_grad():
        network.losses_and_predictions(TWO, TWO_TARGETS)
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())


def test_training_works_after_a_validation_in_inference_mode():
    network = small_network().eval()
    with torch.inference_mode():
        network(TWO)
    sum(network.train()(TWO, TWO_TARGETS).values()).backward()


def test_a_crowd_is_neither_object_nor_background():
    network = small_network().train()
    crowd = target([[10, 10, 60, 70], [64, 0, 128, 100]], [0, 1], crowd=torch.tensor([False, True]))
    (objects,) = network_objects([crowd])
    assert objects.boxes.tolist() == [[10, 10, 60, 70]]
    batch_of_one = images((128, 128))
    _, _, scored = network._first_stage(batch_of_one)
    (classes,), _ = network.rpn.anchor_targets(scored.anchors, [objects], [(128, 128)])
    x1, _, x2, _ = scored.anchors.unbind(1)
    # small anchors of the right half, away from the object, lie in the crowd; those of the left do not
    small = (scored.anchors[:, 2:] - scored.anchors[:, :2]).amax(dim=1) < 50
    inside_height = (scored.anchors[:, 1] >= 0) & (scored.anchors[:, 3] <= 100)
    assert set(classes[small & inside_height & (x1 >= 64) & (x2 <= 128)].tolist()) == {-1}
    assert 0 in classes[small & (x2 < 30)].tolist()
    sample = network.roi_heads.sample([scored.anchors], [objects])
    crowded = (sample.regions[0][:, 0] >= 64) & (sample.regions[0][:, 2] <= 128) & (sample.regions[0][:, 3] <= 100)
    crowded &= sample.regions[0][:, 1] >= 0
    assert not crowded.any()


def plainly_inside(anchors, height, width):
    return torch.tensor([x1 >= 0 and y1 >= 0 and x2 <= width and y2 <= height for x1, y1, x2, y2 in anchors.tolist()])


def test_anchors_that_cross_the_edge_do_not_train_in_the_papers_form():
    """Each image has its own edge, also in a padded batch; an object in a corner gets the best of whole anchors."""
    sizes = [(100, 128), (90, 70)]
    objects = network_objects([target([[0, 0, 14, 14]], [1]), target([[5, 5, 30, 40]], [0])])
    network = small_network("single", anchors={"sizes": [[16, 32]]})
    _, _, scored = network._first_stage(images(*sizes))
    anchors = scored.anchors
    classes, references = network.rpn.anchor_targets(anchors, objects, sizes)
    for own, found, one, size, first in zip(classes, references, objects, sizes, (0, 1), strict=True):
        inside = plainly_inside(anchors, *size)
        assert 0 < inside.sum() < len(inside)
        assert set(own[~inside].tolist()) == {-1}
        kinds, matched = assign(anchors[inside], one._replace(labels=0 * one.labels), network.rpn.matcher)
        assert torch.equal(own[inside], kinds)
        assert torch.equal(found[inside], matched + first)
        assert {0, 1} <= set(kinds.tolist())
    everywhere, _ = small_network("c4", anchors={"sizes": [[16, 32]]}).rpn.anchor_targets(anchors, objects, sizes)
    assert any((own[~plainly_inside(anchors, *size)] >= 0).any() for own, size in zip(everywhere, sizes, strict=True))


def test_where_no_anchor_lies_inside_all_of_them_train():
    network = small_network("single").train()
    _, _, scored = network._first_stage(TWO[:1])
    assert not plainly_inside(scored.anchors, 100, 128).any()
    asked = scored.anchors, network_objects(TWO_TARGETS[:1]), [(100, 128)]
    for own, expected in zip(
        network.rpn.anchor_targets(*asked), small_network("c4").rpn.anchor_targets(*asked), strict=True
    ):
        assert torch.equal(own[0], expected[0])
    assert network(TWO, TWO_TARGETS)["loss_rpn_box"] > 0


@pytest.mark.parametrize(("form", "beta"), [("fpn", 1 / 9), ("single", 1.0), ("c4", 1 / 9)])
def test_boxes_are_weighed_as_their_paper_does(form, beta):
    """Each of four coordinates is off by two: beyond beta smooth L1 is that less half of beta."""
    heads, box = small_network(form).roi_heads, torch.tensor([[0.0, 0, 10, 10]])
    sample = RoISample([box], torch.tensor([1]), box, [torch.zeros(1, dtype=torch.int64)])
    losses = heads.losses(torch.zeros(1, 4), torch.full((1, 4, 4), 2.0), sample)
    assert losses["loss_box"].item() == pytest.approx(4 * (2 - beta / 2))


def network_objects(targets):
    from visionkit.models.detection.parts.batch import split_targets

    return split_targets(targets, num_classes=3)


def test_classes_do_not_suppress_each_other_unless_asked():
    boxes = torch.tensor([[0.0, 0, 40, 40], [1, 1, 41, 41], [80, 80, 100, 100]])
    scores = torch.tensor([0.9, 0.8, 0.7])
    labels = torch.tensor([0, 1, 1])
    for options, kept in [({}, [0, 1, 2]), ({"nms": {"kind": "class_agnostic"}}, [0, 2])]:
        found = filter_detections(Candidates(boxes, scores, labels), small_network(**options).roi_heads.nms)
        assert torch.equal(found["boxes"], boxes[kept])


def test_full_precision_where_it_matters_under_bfloat16():
    network = small_network().train()
    torch.manual_seed(0)
    plain = network(TWO, TWO_TARGETS)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.manual_seed(0)
        mixed = network(TWO, TWO_TARGETS)
        predictions = network.eval()(TWO)
    for name, value in mixed.items():
        assert value.dtype == torch.float32
        assert value.item() == pytest.approx(plain[name].item(), rel=0.2, abs=0.05)
    sum(mixed.values()).backward()
    assert all(prediction[key].dtype == torch.float32 for prediction in predictions for key in ("boxes", "scores"))


def test_anchors_stay_exact_under_bfloat16():
    network = small_network().to(torch.bfloat16).eval()
    with torch.no_grad():
        network([image.bfloat16() for image in TWO])
    ((anchors, _),) = network.rpn.anchors._cache.values()
    assert anchors.dtype == torch.float32


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (target([[0, 0, 9, 9]], [3]), r"'street.jpg' has the labels \[3\]; with 3 classes they are 0..2"),
        (target([[0, 0, 9, 9]], [-1]), r"'street.jpg' has the labels \[-1\]"),
        (target([[0, 0, math.nan, 9]], [0]), "'street.jpg' has boxes that are not finite"),
        (target([[0, 0, math.inf, 9]], [0]), "'street.jpg' has boxes that are not finite"),
        (target([[9, 0, 9, 9]], [0]), "'street.jpg' has boxes .* no area"),
        (target([[9, 0, 2, 9]], [0]), "'street.jpg' has boxes .* no area"),
        (target([[0, 0, 9, 9]], [0, 1]), r"'street.jpg': labels are .* not int64 \[1\]"),
        (target([[0, 0, 9, 9]], [0], crowd=torch.zeros(2, dtype=torch.bool)), "1 objects, but 2 crowd flags"),
    ],
)
@pytest.mark.parametrize("call", [FasterRCNN.forward, FasterRCNN.losses_and_predictions])
def test_targets_that_cannot_be_right_name_their_image(wrong, message, call):
    targets = [TWO_TARGETS[0], {**wrong, "image_id": "street.jpg"}]
    with pytest.raises(DataError, match=message):
        call(small_network().train(), TWO, targets)


@pytest.mark.parametrize(
    "wrong", [torch.rand(3, 64, 64) * 255, torch.full((3, 64, 64), math.nan), torch.zeros(3, 64, 64).byte()]
)
def test_images_that_are_not_normalized_raise(wrong):
    with pytest.raises(DataError, match="normalized"):
        small_network().eval()([wrong])


@pytest.mark.parametrize("part", ["rpn.head.cls_logits", "rpn.head.bbox_pred", "roi_heads.box_predictor.cls_score"])
def test_broken_values_raise_instead_of_giving_no_boxes(part):
    network = small_network().eval()
    network.get_submodule(part).weight.data.fill_(math.nan)
    with pytest.raises(VisionkitError, match="not finite"), torch.no_grad():
        network(TWO)


def test_training_without_targets_raises():
    with pytest.raises(VisionkitError, match="eval"):
        small_network().train()(TWO)


@pytest.mark.parametrize("form", FORMS)
def test_spec_builds_the_same_structure(form):
    network = small_network(form, anchors={"ratios": (1.0, 2.0)}, nms={"max_detections": 7})
    spec = network.spec
    assert (spec["name"], spec["form"], spec["anchors"]["ratios"], spec["nms"]["max_detections"]) == (
        "faster_rcnn",
        form,
        [1.0, 2.0],
        7,
    )
    again = create_model(**{**spec, "backbone": create_backbone(**spec["backbone"])})
    assert again.spec == spec
    again.load_state_dict(network.state_dict())
    with torch.no_grad():
        one, other = network.eval()(TWO), again.eval()(TWO)
    assert all(torch.equal(a["boxes"], b["boxes"]) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"anchors": {"sizes": [[32], [64]]}}, "5 levels"),
        ({"anchors": {"sizes": [[32], [64], [128], [256], [512, 600]]}}, "same number"),
        ({"rpn": {"bg_iou": 0.8}}, r"rpn: bg_iou=0\.8, fg_iou=0\.7 must rise"),
        ({"form": "fpm"}, "did you mean fpn"),
        ({"num_classes": 0}, "num_classes=0"),
    ],
)
def test_contradicting_options_raise(options, message):
    backbone = create_backbone("resnet18", weights="none")
    with pytest.raises(ConfigError, match=message):
        create_model("faster_rcnn", backbone, **{"num_classes": 3, **options})


def test_single_refuses_a_backbone_whose_last_stage_would_never_learn():
    with pytest.raises(ConfigError, match=r"out_stages=\[s16\]"):
        FasterRCNN(create_backbone("resnet18", weights="none"), 3, form="single")


def test_vgg_on_one_map_has_the_papers_heads():
    network = FasterRCNN(create_backbone("vgg16", weights="none"), 20, form="single")
    assert network.roi_heads.box_head.fc6.weight.shape == (4096, 512 * 7 * 7)
    assert network.roi_heads.box_head.dropout.p == 0.5
    assert network.rpn.head.cls_logits.out_channels == 9
    assert sorted(network.anchor_shapes().prod(dim=1).sqrt().round().unique().tolist())[0] == pytest.approx(128, abs=1)


def test_anchor_shapes_are_in_pixels_of_the_input():
    shapes = small_network().anchor_shapes()
    assert shapes.shape == (15, 2)
    assert [32.0, 32.0] in shapes.tolist()
    assert [512.0, 512.0] in shapes.tolist()


def test_scales_do_not_depend_on_the_first_batch():
    network = small_network(nms={"score_threshold": 0.0}).eval()
    with torch.no_grad():
        fresh = network(TWO)
        network(images((33, 40)))
        again = network(TWO)
    assert network.roi_heads.pool.scales == [1 / 4, 1 / 8, 1 / 16, 1 / 32]
    assert all(torch.equal(a["boxes"], b["boxes"]) for a, b in zip(fresh, again, strict=True))


OVERFIT = {
    "fpn": {"anchors": {"sizes": [[16], [32], [64], [96], [128]]}},
    "single": {"anchors": {"sizes": [[32, 64]]}, "head_channels": 256, "head_dropout": 0.0},
    "c4": {"anchors": {"sizes": [[32, 64]]}},
}


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_one_image_is_learnt_with_its_classes(form):
    network = small_network(form, **OVERFIT[form])
    image = images((96, 96))[0] * 0.1
    image[0, 10:50, 10:50] += 2
    image[2, 50:90, 40:90] -= 2
    truth = target([[10, 10, 50, 50], [40, 50, 90, 90]], [2, 0])
    optimizer = torch.optim.Adam(network.parameters(), 1e-4)
    network.train()
    for _ in range(100):
        optimizer.zero_grad()
        sum(network([image, image], [truth, truth]).values()).backward()
        optimizer.step()
    with torch.no_grad():
        (found,) = network.eval()([image])
    best = torch.stack([found["boxes"][found["labels"] == label][0] for label in (2, 0)])
    assert box_iou(best, truth["boxes"]).diag().min() > 0.7
