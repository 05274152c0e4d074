import pytest
import torch
from torchvision.models.detection.rpn import concat_box_prediction_layers

from tests.helpers.detectors import images, padded, small_network, target
from visionkit.errors import ConfigError
from visionkit.models.detection.parts.anchors import AnchorGenerator
from visionkit.models.detection.parts.batch import pad_targets
from visionkit.models.detection.parts.rpn import Proposals, RegionProposalNetwork, RPNOptions, RPNOutput
from visionkit.ops.matching import assign

TWO = images((100, 128), (90, 70))
TWO_TARGETS = [
    target([[10, 10, 60, 70], [30, 40, 90, 100], [5, 80, 25, 95]], [0, 2, 1]),
    target([[20, 5, 69, 60]], [1]),
]


def rpn(**options):
    return RegionProposalNetwork(4, AnchorGenerator([[16], [32]], (0.5, 1.0)), RPNOptions(**options))


def output_of(anchors, objectness, anchors_per_level=None):
    """Return the output for one image whose deltas are 0."""
    anchors = torch.tensor(anchors, dtype=torch.float32)
    logits = torch.tensor([objectness], dtype=torch.float32)
    return RPNOutput(anchors, anchors_per_level or [len(anchors)], logits, torch.zeros(1, len(anchors), 4))


def test_outputs_are_in_the_order_of_torchvision():
    torch.manual_seed(0)
    network, maps = rpn(), {"s8": torch.randn(2, 4, 5, 7), "s16": torch.randn(2, 4, 3, 4)}
    output = network(maps, (40, 56))
    objectness, deltas = concat_box_prediction_layers(*network.head(list(maps.values())))
    assert output.anchors_per_level == [5 * 7 * 2, 3 * 4 * 2]
    assert len(output.anchors) == sum(output.anchors_per_level)
    assert torch.equal(output.objectness, objectness.view(2, -1))
    assert torch.equal(output.deltas, deltas.view(2, -1, 4))


def test_proposals_are_the_best_anchors_of_each_level_after_nms():
    """The second anchor of the first level overlaps the first; the third one is not among the best two."""
    anchors = [[0, 0, 20, 20], [1, 0, 20, 20], [30, 30, 50, 50], [0, 0, 20, 20]]
    output = output_of(anchors, [3, 2, 1, 0], [3, 1])
    network = rpn(pre_nms_top_n_test=2)
    (proposals,) = network.propose(output, [(64, 64)], for_training=False).per_image()
    assert proposals.tolist() == [[0, 0, 20, 20], [0, 0, 20, 20]]
    (proposals,) = network.propose(output, [(64, 64)], for_training=True).per_image()
    assert proposals.tolist() == [[0, 0, 20, 20], [30, 30, 50, 50], [0, 0, 20, 20]]


def test_numbers_of_training_and_of_evaluation():
    output = output_of([[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10]], [3, 2, 1])
    network = rpn(post_nms_top_n_train=2, post_nms_top_n_test=1)
    assert [network.propose(output, [(64, 64)], training).valid.sum() for training in (True, False)] == [2, 1]


def test_proposals_are_clipped_and_need_an_area_and_a_score():
    output = output_of([[-10, 0, 10, 10], [-20, 0, 0, 10], [20, 0, 30, 10]], [3, 2, -3])
    (proposals,) = rpn(score_threshold=0.5).propose(output, [(64, 64)], for_training=False).per_image()
    assert proposals.tolist() == [[0, 0, 10, 10]]


def test_losses_of_a_sample_computed_by_hand():
    anchors = [[0, 0, 10, 10], [0, 0, 10, 12], [40, 40, 50, 50]]  # matched, matched, background
    objects = pad_targets([target([[0, 0, 10, 10]], [2])], 3)
    losses = rpn().losses(output_of(anchors, [0, 0, 0]), objects, [(64, 64)])
    assert losses["loss_rpn_objectness"].item() == pytest.approx(torch.tensor(2.0).log().item())
    shift, scale = 1 / 12, torch.tensor(12 / 10).log().item()  # deltas of the second anchor; below and above beta
    assert losses["loss_rpn_box"].item() == pytest.approx((shift**2 * 9 / 2 + scale - 1 / 18) / 3, rel=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pre_nms_top_n_test": 0}, "pre_nms_top_n_test=0 must be at least 1"),
        ({"batch_size_per_image": 0}, "batch_size_per_image=0"),
        ({"nms_iou": 1.5}, r"nms_iou=1\.5 must be within"),
        ({"score_threshold": -0.1}, r"score_threshold=-0\.1"),
        ({"fg_iou": 0.2}, r"bg_iou=0\.3, fg_iou=0\.2 must satisfy"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        RPNOptions(**options)


def test_a_crowd_is_neither_object_nor_background():
    network = small_network().train()
    crowd = target([[10, 10, 60, 70], [64, 0, 128, 100]], [0, 1], crowd=torch.tensor([False, True]))
    objects = pad_targets([crowd], 3)
    assert objects.image(0).boxes.tolist() == [[10, 10, 60, 70]]
    _, _, output = network._first_stage(images((128, 128)))
    (classes,), _ = network.rpn.anchor_targets(output.anchors, objects, [(128, 128)])
    x1, _, x2, _ = output.anchors.unbind(1)
    # small anchors of the right half, away from the object, lie in the crowd; those of the left do not
    small = (output.anchors[:, 2:] - output.anchors[:, :2]).amax(dim=1) < 50
    inside_height = (output.anchors[:, 1] >= 0) & (output.anchors[:, 3] <= 100)
    assert set(classes[small & inside_height & (x1 >= 64) & (x2 <= 128)].tolist()) == {-1}
    assert 0 in classes[small & (x2 < 30)].tolist()
    every_anchor = Proposals(output.anchors[None], torch.ones(1, len(output.anchors), dtype=torch.bool))
    sample = network.roi_heads.sample(every_anchor, objects)
    regions = sample.regions[sample.used]
    assert len(regions) > 0
    crowded = (regions[:, 0] >= 64) & (regions[:, 2] <= 128) & (regions[:, 3] <= 100) & (regions[:, 1] >= 0)
    assert not crowded.any()


def inside_image(anchors, height, width):
    return torch.tensor([x1 >= 0 and y1 >= 0 and x2 <= width and y2 <= height for x1, y1, x2, y2 in anchors.tolist()])


def test_anchors_that_cross_the_edge_are_ignored_in_the_single_form():
    """Each image has its own edge, also in a padded batch. An object in a corner matches the best anchor inside."""
    sizes = [(100, 128), (90, 70)]
    objects = pad_targets([target([[0, 0, 14, 14]], [1]), target([[5, 5, 30, 40]], [0])], 3)
    network = small_network("single", anchors={"sizes": [[16, 32]]})
    _, _, output = network._first_stage(images(*sizes))
    anchors = output.anchors
    classes, matched = network.rpn.anchor_targets(anchors, objects, sizes)
    for number, (own, own_matched, size) in enumerate(zip(classes, matched, sizes, strict=True)):
        inside = inside_image(anchors, *size)
        assert 0 < inside.sum() < len(inside)
        assert set(own[~inside].tolist()) == {-1}
        alone = objects.image(number)
        one_class = padded([alone._replace(labels=0 * alone.labels)])
        (expected_classes,), (expected_matched,) = assign(anchors[inside], one_class, network.rpn.matcher)
        assert torch.equal(own[inside], expected_classes)
        assert torch.equal(own_matched[inside], expected_matched)
        assert {0, 1} <= set(expected_classes.tolist())
    everywhere, _ = small_network("c4", anchors={"sizes": [[16, 32]]}).rpn.anchor_targets(anchors, objects, sizes)
    assert any((own[~inside_image(anchors, *size)] >= 0).any() for own, size in zip(everywhere, sizes, strict=True))


def test_no_anchor_is_ignored_where_all_cross_the_edge():
    network = small_network("single").train()
    _, _, output = network._first_stage(TWO[:1])
    assert not inside_image(output.anchors, 100, 128).any()
    arguments = output.anchors, pad_targets(TWO_TARGETS[:1], 3), [(100, 128)]
    all_anchors = small_network("c4").rpn.anchor_targets(*arguments)
    for own, expected in zip(network.rpn.anchor_targets(*arguments), all_anchors, strict=True):
        assert torch.equal(own, expected)
    assert network(TWO, TWO_TARGETS)["loss_rpn_box"] > 0
