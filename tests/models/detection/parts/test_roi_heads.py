import pytest
import torch

from tests.helpers.detectors import padded, small_network
from visionkit.errors import ConfigError
from visionkit.models.detection.parts.batch import pad_rows
from visionkit.models.detection.parts.roi_heads import RoIHeads, RoIOptions, RoISample, mean_losses
from visionkit.models.detection.parts.rpn import Proposals
from visionkit.ops.matching import Objects
from visionkit.ops.nms import NMSOptions

NO_BOXES = torch.zeros(0, 4)
EMPTY = Objects(NO_BOXES, torch.zeros(0, dtype=torch.int64), NO_BOXES)
BOX = torch.tensor([[0.0, 0, 10, 10]])


def heads(score_threshold=0.05, **options):
    return RoIHeads(RoIOptions(**options), NMSOptions(score_threshold=score_threshold))


def sampled(roi_heads, proposals, objects):
    """Return the sample, and per image the index of the proposal or object, class and match of each of its regions."""
    sample = roi_heads.sample(Proposals(*pad_rows(proposals)), padded(objects))
    rows = []
    for image, (own, one) in enumerate(zip(proposals, objects, strict=True)):
        candidates, used = torch.cat([own, one.boxes]).tolist(), sample.used[image]
        columns = (column[image][used].tolist() for column in (sample.regions, sample.classes, sample.matched))
        rows.append(sorted((candidates.index(box), cls, match) for box, cls, match in zip(*columns, strict=True)))
    return sample, rows


def sample_of(boxes, classes, matched_boxes):
    """Return a sample of one image."""
    used, matched = torch.ones(1, len(boxes), dtype=torch.bool), torch.zeros(1, len(boxes), dtype=torch.int64)
    return RoISample(boxes[None], used, torch.tensor([classes]), matched, matched_boxes[None], len(boxes))


def test_background_has_a_minimum_iou_where_the_image_has_objects():
    roi_heads = heads(batch_size_per_image=512, positive_fraction=0.9, min_bg_iou=0.1)
    objects = Objects(BOX, torch.tensor([2]), NO_BOXES)
    # IoU of 1, 0.6, 0.3, 0.05 and 0
    boxes = [[0, 0, 10, 10], [0, 0, 10, 6], [0, 0, 10, 3], [0, 0, 10, 0.5], [20, 20, 30, 30]]
    _, (rows,) = sampled(roi_heads, [torch.tensor(boxes[1:], dtype=torch.float32)], [objects])
    assert rows == [(0, 3, 0), (1, 0, 0), (4, 3, 0)]  # the last one is the object itself
    _, (rows,) = sampled(roi_heads, [torch.tensor(boxes, dtype=torch.float32)], [EMPTY])
    assert [(place, cls) for place, cls, _ in rows] == [(place, 0) for place in range(5)]


def test_samples_of_several_images_keep_their_own_objects():
    first = Objects(torch.tensor([[0.0, 0, 10, 10], [40, 40, 60, 60]]), torch.tensor([1, 0]), NO_BOXES)
    second = Objects(torch.tensor([[5.0, 5, 25, 25]]), torch.tensor([2]), NO_BOXES)
    proposals = [torch.tensor([[41.0, 40, 60, 60], [80, 80, 90, 90]]), torch.tensor([[5.0, 5, 25, 24]])]
    sample, rows = sampled(heads(positive_fraction=1.0), proposals, [first, second])
    assert rows == [[(0, 1, 1), (1, 0, 0), (2, 2, 0), (3, 1, 1)], [(0, 3, 0), (1, 3, 0)]]
    for image, objects in enumerate((first, second)):
        assert torch.equal(sample.matched_boxes[image], objects.boxes[sample.matched[image]])
    assert sample.rois[:, 0].tolist() == [0] * 4 + [1] * 4


def test_a_sample_has_at_most_the_given_share_of_positives():
    proposals = torch.cat([BOX.repeat(30, 1), torch.tensor([[50.0, 50, 60, 60]]).repeat(30, 1)])
    roi_heads, one = heads(batch_size_per_image=16), Objects(BOX, torch.tensor([0]), NO_BOXES)
    sample = roi_heads.sample(Proposals(*pad_rows([proposals])), padded([one]))
    assert ((sample.classes > 0).sum(), sample.used.sum()) == (4, 16)


def test_losses_of_a_region_and_of_background():
    sample = sample_of(BOX.repeat(2, 1), [1, 0], BOX.repeat(2, 1))
    deltas = torch.full((2, 3, 4), 2.0)
    (classifier,), (box,) = heads().losses_per_region(torch.zeros(2, 3), deltas, sample)
    torch.testing.assert_close(classifier, torch.tensor(3.0).log().repeat(2))
    torch.testing.assert_close(box, torch.tensor([4 * (2 - 1 / 18), 0.0]))
    losses = heads().losses(torch.zeros(2, 3), deltas, sample)
    assert losses["loss_box"].item() == pytest.approx(2 * (2 - 1 / 18))


def test_losses_of_no_region_are_zero():
    losses = mean_losses(torch.ones(2, 3), torch.ones(2, 3), torch.zeros(2, 3, dtype=torch.bool))
    assert {name: loss.item() for name, loss in losses.items()} == {"loss_classifier": 0.0, "loss_box": 0.0}


def test_predictions_are_decoded_clipped_and_above_the_threshold():
    proposals = [torch.tensor([[0.0, 0, 10, 10], [20, 20, 40, 40]]), torch.tensor([[5.0, 5, 15, 15]])]
    logits = torch.tensor([[0.0, 5, 0], [0, 0, 5], [9, 0, 0]])
    deltas = torch.zeros(3, 3, 4)
    deltas[0, 1, 0] = 10  # a weight of 10: the center moves by the side of the box
    first, second = heads().predictions(logits, deltas, proposals, [(30, 50), (20, 20)])
    assert first["boxes"].tolist() == [[10, 0, 20, 10], [20, 20, 40, 30]]
    assert first["labels"].tolist() == [0, 1]
    assert len(second["boxes"]) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size_per_image": 0}, "batch_size_per_image=0 must be at least 1"),
        ({"positive_fraction": 1.5}, r"positive_fraction=1\.5 must be within"),
        ({"bg_iou": 0.6}, r"bg_iou=0\.6, fg_iou=0\.5 must satisfy"),
        ({"min_bg_iou": 0.6}, r"min_bg_iou=0\.6, bg_iou=0\.5"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        RoIOptions(**options)


@pytest.mark.parametrize(("variant", "beta"), [("fpn", 1 / 9), ("single", 1.0), ("c4", 1 / 9)])
def test_box_loss_of_each_form_is_that_of_its_paper(variant, beta):
    """All four deltas differ by 2. Beyond beta, smooth L1 is the difference minus half of beta."""
    sample = sample_of(BOX, [1], BOX)
    losses = small_network(variant).roi_heads.losses(torch.zeros(1, 4), torch.full((1, 4, 4), 2.0), sample)
    assert losses["loss_box"].item() == pytest.approx(4 * (2 - beta / 2))
