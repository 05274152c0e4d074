import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.models.detection import _utils as torchvision_matchers
from torchvision.ops import box_iou

from tests.helpers.detectors import padded
from visionkit.errors import ConfigError
from visionkit.ops import matching
from visionkit.ops.boxes import share_inside
from visionkit.ops.matching import (
    BACKGROUND,
    IGNORED,
    HardBackgroundMatcher,
    LowQualityMatcher,
    Matcher,
    Objects,
    SSDMatcher,
    assign,
    ignore_crowds,
)

NO_CROWD = torch.zeros(0, 4)
MATCHERS = [
    (Matcher(0.7, 0.3), torchvision_matchers.Matcher(0.7, 0.3)),
    (LowQualityMatcher(0.7, 0.3), torchvision_matchers.Matcher(0.7, 0.3, allow_low_quality_matches=True)),
    (SSDMatcher(0.5), torchvision_matchers.SSDMatcher(0.5)),
]
HARD_BACKGROUND = HardBackgroundMatcher(0.5, 0.4, 0.1)


def objects(boxes, labels, crowds=NO_CROWD):
    return Objects(torch.tensor(boxes).view(-1, 4).float(), torch.tensor(labels, dtype=torch.int64), crowds)


def assign_one(boxes, image, matcher):
    """Return classes and matches of an image that is in a batch with one that has more objects."""
    other = objects([[0, 0, 9, 9]] * 4, [3, 2, 1, 0], torch.tensor([[0.0, 0, 99, 99]]))
    classes, matched = assign(boxes, padded([image, other]), matcher)
    alone = assign(boxes, padded([image]), matcher)
    assert torch.equal(classes[:1], alone[0])
    assert torch.equal(matched[:1], alone[1])
    return classes[0], matched[0]


@given(st.sampled_from(MATCHERS), st.integers(0, 10**6), st.integers(1, 5), st.integers(1, 30))
def test_matchers_agree_with_torchvision(pair, seed, number_of_objects, number_of_boxes):
    generator = torch.Generator().manual_seed(seed)

    def random_boxes(number):
        corners = torch.randint(0, 8, (number, 2), generator=generator).float()  # coarse, so that ties happen
        return torch.cat([corners, corners + torch.randint(4, 9, (number, 2), generator=generator)], dim=1)

    iou = box_iou(random_boxes(number_of_objects), random_boxes(number_of_boxes))
    iou = iou[iou.amax(dim=1) > 0]
    if len(iou):
        ours, torchvisions = pair
        assert ours(iou).tolist() == torchvisions(iou).tolist()


def test_an_object_that_no_box_touches_matches_none():
    iou = torch.tensor([[0.0, 0.0, 0.0], [0.9, 0.0, 0.4]])
    assert LowQualityMatcher(0.7, 0.3)(iou).tolist() == [1, BACKGROUND, IGNORED]


def test_best_box_of_ssd_matches_its_object_even_if_it_overlaps_another_more():
    iou = torch.tensor([[0.9, 0.1, 0.0], [0.6, 0.2, 0.1]])
    assert SSDMatcher(0.5)(iou).tolist() == [1, BACKGROUND, BACKGROUND]
    assert LowQualityMatcher(0.5, 0.5)(iou).tolist() == [0, BACKGROUND, BACKGROUND]


def test_background_of_the_band_matcher_overlaps_an_object():
    iou = torch.tensor([[0.0, 0.05, 0.1, 0.45, 0.5, 0.9]])
    assert HARD_BACKGROUND(iou).tolist() == [IGNORED, IGNORED, BACKGROUND, IGNORED, 0, 0]


@pytest.mark.parametrize("thresholds", [(0.3, 0.7), (1.2, 0.3), (0.5, -0.1)])
def test_thresholds_out_of_order_are_refused(thresholds):
    with pytest.raises(ConfigError, match="must satisfy 0 <= bg_iou <= fg_iou <= 1"):
        Matcher(*thresholds)


def test_classes_are_shifted_and_boxes_between_the_thresholds_are_ignored():
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 5], [50, 50, 60, 60]])
    classes, matched = assign_one(boxes, objects([[0, 0, 10, 10]], [2]), Matcher(0.7, 0.3))
    assert classes.tolist() == [3, -1, 0]
    assert matched[0] == 0


def test_background_mostly_in_a_crowd_is_ignored_but_objects_there_are_not():
    crowd = torch.tensor([[0.0, 0, 20, 20]])
    boxes = torch.tensor([[0.0, 0, 10, 10], [10, 0, 30, 10], [11, 0, 31, 10], [1, 1, 9, 9]])
    image = objects([[1, 1, 9, 9]], [0], crowd)
    classes, _ = assign_one(boxes, image, Matcher(0.9, 0.1))
    # the first overlaps the object between the thresholds; the second has just half its area in the crowd
    assert classes.tolist() == [-1, -1, 0, 1]
    assert ignore_crowds(torch.tensor([[0, 0, 0, 2]]), boxes, padded([image])).tolist() == [[-1, -1, 0, 2]]


@pytest.mark.parametrize(
    "matcher",
    [
        Matcher(0.5, 0.5),
        Matcher(0, 0),
        LowQualityMatcher(0.5, 0.2),
        SSDMatcher(0.5),
        HardBackgroundMatcher(0.5, 0.5, 0.1),
    ],
)
def test_without_objects_all_is_background(matcher):
    boxes = torch.tensor([[0.0, 0, 1, 1], [0, 0, 0, 0], [5, 5, 9, 9]])
    classes, matched = assign_one(boxes, objects([], []), matcher)
    assert classes.tolist() == [0, 0, 0]
    assert matched.tolist() == [0, 0, 0]


def random_image(generator, number, crowds=0):
    corners = torch.rand(number + crowds, 2, generator=generator) * 50
    boxes = torch.cat([corners, corners + 10 + 20 * torch.rand(number + crowds, 2, generator=generator)], dim=1)
    return Objects(boxes[:number], torch.arange(number), boxes[number:])


@pytest.mark.parametrize(
    "matcher",
    [matcher for matcher, _ in MATCHERS] + [HardBackgroundMatcher(0.5, 0.4, 0.1)],
    ids=lambda m: type(m).__name__,
)
@pytest.mark.parametrize("own_boxes", [False, True])
@pytest.mark.parametrize("max_pairs", [None, 300, 1])
def test_a_batch_is_matched_as_its_images_are_one_by_one(matcher, own_boxes, max_pairs, monkeypatch):
    generator = torch.Generator().manual_seed(0)
    images = [random_image(generator, *counts) for counts in ((7, 0), (0, 0), (1, 2), (0, 3), (3, 1))]
    boxes = torch.stack([random_image(generator, 60).boxes for _ in images])
    allowed = torch.rand(5, 60, generator=generator) < 0.7
    if not own_boxes:
        boxes, allowed = boxes[0], None
    if max_pairs is not None:
        monkeypatch.setattr(matching, "MAX_PAIRS", max_pairs)
    classes, matched = assign(boxes, padded(images), matcher, allowed)
    for number, image in enumerate(images):
        used = allowed[number] if own_boxes else torch.ones(60, dtype=torch.bool)
        own = boxes[number][used] if own_boxes else boxes
        matches = matcher(box_iou(image.boxes, own)) if len(image.boxes) else torch.full((len(own),), BACKGROUND)
        expected = [-1 if match == IGNORED else match + 1 for match in matches.tolist()]  # the label is the index
        inside = (share_inside(own, image.crowds) >= 0.5).any(dim=1)
        expected = [-1 if cls == 0 and crowded else cls for cls, crowded in zip(expected, inside, strict=True)]
        assert classes[number][used].tolist() == expected
        assert matched[number][used].tolist() == matches.clamp(min=0).tolist()
        assert set(classes[number][~used].tolist()) <= {-1}
