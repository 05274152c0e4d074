import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.models.detection import _utils as torchvision_matchers
from torchvision.ops import box_iou

from visionkit.errors import ConfigError
from visionkit.ops import matching
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


def objects(boxes, labels, crowds=NO_CROWD):
    return Objects(torch.tensor(boxes).view(-1, 4).float(), torch.tensor(labels, dtype=torch.int64), crowds)


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
    assert HardBackgroundMatcher(0.5, 0.4, 0.1)(iou).tolist() == [IGNORED, IGNORED, BACKGROUND, IGNORED, 0, 0]


@pytest.mark.parametrize("thresholds", [(0.3, 0.7), (1.2, 0.3), (0.5, -0.1)])
def test_thresholds_out_of_order_are_refused(thresholds):
    with pytest.raises(ConfigError, match="must satisfy 0 <= bg_iou <= fg_iou <= 1"):
        Matcher(*thresholds)


def test_classes_are_shifted_and_boxes_between_the_thresholds_are_ignored():
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 5], [50, 50, 60, 60]])
    classes, matched = assign(boxes, objects([[0, 0, 10, 10]], [2]), Matcher(0.7, 0.3))
    assert classes.tolist() == [3, -1, 0]
    assert matched[0] == 0


def test_background_mostly_in_a_crowd_is_ignored_but_objects_there_are_not():
    crowd = torch.tensor([[0.0, 0, 20, 20]])
    boxes = torch.tensor([[0.0, 0, 10, 10], [10, 0, 30, 10], [11, 0, 31, 10], [1, 1, 9, 9]])
    classes, _ = assign(boxes, objects([[1, 1, 9, 9]], [0], crowd), Matcher(0.9, 0.1))
    # the first overlaps the object between the thresholds; the second has just half its area in the crowd
    assert classes.tolist() == [-1, -1, 0, 1]
    assert ignore_crowds(torch.tensor([0, 0, 0, 2]), boxes, crowd).tolist() == [-1, -1, 0, 2]


def test_without_objects_all_is_background():
    classes, matched = assign(torch.ones(3, 4), objects([], []), Matcher(0.5, 0.5))
    assert classes.tolist() == [0, 0, 0]
    assert matched.tolist() == [0, 0, 0]


def test_many_objects_are_matched_in_parts_as_all_at_once(monkeypatch):
    corners = torch.rand(80, 2, generator=torch.Generator().manual_seed(0)) * 50
    boxes = torch.cat([corners, corners + 20], dim=1)
    many = objects(boxes[:30].tolist(), list(range(30)))
    expected = assign(boxes, many, LowQualityMatcher(0.7, 0.3))
    part_sizes = []
    monkeypatch.setattr(matching, "box_iou", lambda part, other: part_sizes.append(len(part)) or box_iou(part, other))
    monkeypatch.setattr(matching, "MAX_PAIRS", 7 * len(boxes))
    in_parts = assign(boxes, many, LowQualityMatcher(0.7, 0.3))
    assert part_sizes == [7, 7, 7, 7, 2]
    assert all(torch.equal(tensor, other) for tensor, other in zip(expected, in_parts, strict=True))
