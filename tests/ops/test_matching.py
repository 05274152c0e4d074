import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.models.detection._utils import Matcher
from torchvision.ops import box_iou

from visionkit.ops import matching
from visionkit.ops.matching import BestMatcher, Objects, assign

NO_CROWD = torch.zeros(0, 4)


def objects(boxes, labels, crowds=NO_CROWD):
    return Objects(torch.tensor(boxes).view(-1, 4).float(), torch.tensor(labels, dtype=torch.int64), crowds)


@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(1, 30))
def test_best_matcher_agrees_with_torchvision(seed, number_of_objects, number_of_boxes):
    generator = torch.Generator().manual_seed(seed)

    def some_boxes(number):
        corners = torch.randint(0, 8, (number, 2), generator=generator).float()  # coarse, so that ties happen
        return torch.cat([corners, corners + torch.randint(4, 9, (number, 2), generator=generator)], dim=1)

    iou = box_iou(some_boxes(number_of_objects), some_boxes(number_of_boxes))
    iou = iou[iou.amax(dim=1) > 0]
    if len(iou):
        expected = Matcher(0.7, 0.3, allow_low_quality_matches=True)(iou)
        assert BestMatcher(0.7, 0.3)(iou).tolist() == expected.tolist()


def test_an_object_that_no_box_touches_matches_none():
    iou = torch.tensor([[0.0, 0.0, 0.0], [0.9, 0.0, 0.4]])
    assert BestMatcher(0.7, 0.3)(iou).tolist() == [1, -1, -2]


def test_classes_are_shifted_and_the_doubtful_teach_nothing():
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 5], [50, 50, 60, 60]])
    classes, matched = assign(boxes, objects([[0, 0, 10, 10]], [2]), Matcher(0.7, 0.3))
    assert classes.tolist() == [3, -1, 0]
    assert matched[0] == 0


def test_background_mostly_in_a_crowd_teaches_nothing_but_objects_there_do():
    crowd = torch.tensor([[0.0, 0, 20, 20]])
    boxes = torch.tensor([[0.0, 0, 10, 10], [10, 0, 30, 10], [11, 0, 31, 10], [1, 1, 9, 9]])
    classes, _ = assign(boxes, objects([[1, 1, 9, 9]], [0], crowd), Matcher(0.9, 0.1))
    # the first overlaps the object between the thresholds; the second has just half its area in the crowd
    assert classes.tolist() == [-1, -1, 0, 1]


def test_without_objects_all_is_background():
    classes, matched = assign(torch.ones(3, 4), objects([], []), Matcher(0.5, 0.5))
    assert classes.tolist() == [0, 0, 0]
    assert matched.tolist() == [0, 0, 0]


def test_many_objects_are_matched_part_by_part_as_all_at_once(monkeypatch):
    corners = torch.rand(80, 2, generator=torch.Generator().manual_seed(0)) * 50
    boxes = torch.cat([corners, corners + 20], dim=1)
    many = objects(boxes[:30].tolist(), list(range(30)))
    whole = assign(boxes, many, BestMatcher(0.7, 0.3))
    counted = []
    monkeypatch.setattr(matching, "box_iou", lambda one, other: counted.append(len(one)) or box_iou(one, other))
    monkeypatch.setattr(matching, "OVERLAPS_AT_ONCE", 7 * len(boxes))
    parts = assign(boxes, many, BestMatcher(0.7, 0.3))
    assert counted == [7, 7, 7, 7, 2]
    assert all(torch.equal(one, other) for one, other in zip(whole, parts, strict=True))
