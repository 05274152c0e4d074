import math

import pytest
import torch

from tests.helpers.detectors import small_network, target
from visionkit.errors import DataError
from visionkit.models.detection.parts.batch import (
    check_images,
    filter_detections,
    pad_rows,
    pad_targets,
    pad_to_batch,
)
from visionkit.models.detection.parts.target_checks import check_proposals
from visionkit.ops.nms import Candidates, NMSOptions


def test_images_are_padded_at_the_right_and_at_the_bottom():
    first, second = torch.ones(3, 10, 30), torch.full((3, 20, 5), 2.0)
    batch = pad_to_batch([first, second], 16)
    assert batch.tensor.shape == (2, 3, 32, 32)
    assert batch.tensor.is_contiguous(memory_format=torch.channels_last)
    assert batch.sizes == [(10, 30), (20, 5)]
    assert torch.equal(batch.tensor[1, :, :20, :5], second)
    assert batch.tensor.sum() == first.sum() + second.sum()


@pytest.mark.parametrize("image", [torch.zeros(3, 9, 9).byte(), torch.zeros(1, 9, 9), torch.zeros(3, 9)])
def test_images_of_another_type_or_shape_are_refused(image):
    with pytest.raises(DataError, match=r"image 1 of the batch is .*normalized float images \[3, H, W\]"):
        pad_to_batch([torch.zeros(3, 9, 9), image], 1)


def test_normalized_images_pass_and_others_do_not():
    std = (0.2, 0.25, 0.5)
    check_images(pad_to_batch([torch.full((3, 8, 8), 4.9)], 8), std, training=True)
    for value in (60.0, -60.0, math.nan, math.inf):
        with pytest.raises(DataError, match="not normalized"):
            check_images(pad_to_batch([torch.full((3, 8, 8), value)], 8), std, training=True)


def test_proposals_become_float32():
    boxes = torch.tensor([[1.0, 2, 3, 4]], dtype=torch.float64)
    (checked,) = check_proposals([boxes], 1)
    assert checked.dtype == torch.float32
    assert checked.tolist() == boxes.tolist()


@pytest.mark.parametrize("proposals", [None, [], [None], [torch.zeros(1, 4)] * 2])
def test_missing_proposals_are_refused(proposals):
    with pytest.raises(DataError, match=r"data\.proposals"):
        check_proposals(proposals, 1)


@pytest.mark.parametrize("boxes", [torch.zeros(2, 5), torch.zeros(4), torch.zeros(2, 4, dtype=torch.int64)])
def test_proposals_of_another_type_or_shape_are_refused(boxes):
    with pytest.raises(DataError, match=r"image 1 of the batch are .* not float \[P, 4\]"):
        check_proposals([torch.zeros(0, 4), boxes], 2)


def test_targets_are_padded_and_crowds_are_separated_from_objects():
    crowd = torch.tensor([False, True, False])
    boxes = [[0, 0, 9, 9], [0, 0, 50, 50], [5, 5, 9, 9]]
    masks = [{"counts": name} for name in "abc"]
    targets = [target(boxes, [0, 1, 2], crowd=crowd, masks=masks), target(boxes[:1], [1]), target()]
    objects = pad_targets(targets, 3)
    assert objects.boxes.shape == objects.crowds.shape == (3, 3, 4)
    assert objects.valid.tolist() == [[True, False, True], [True, False, False], [False] * 3]
    with_crowd, without, none = map(objects.image, range(3))
    assert with_crowd.boxes.tolist() == [boxes[0], boxes[2]]
    assert with_crowd.labels.tolist() == [0, 2]
    assert with_crowd.crowds.tolist() == [boxes[1]]
    assert (len(without.boxes), len(without.crowds), len(none.boxes), len(none.crowds)) == (1, 0, 0, 0)
    assert (objects.masks, objects.counts) == ([masks, None, None], [3, 1, 0])


def test_targets_without_rows_are_padded_to_one():
    objects = pad_targets([target(), target(crowd=torch.zeros(0, dtype=torch.bool))], 3)
    assert objects.valid.tolist() == [[False], [False]]
    assert objects.crowds is None
    boxes, valid = pad_rows([torch.zeros(0, 4), torch.ones(2, 4)])
    assert boxes.shape == (2, 2, 4)
    assert valid.tolist() == [[False, False], [True, True]]


def test_masks_of_another_number_are_refused():
    with pytest.raises(DataError, match="1 objects, but 2 masks"):
        pad_targets([target([[0, 0, 9, 9]], [0], masks=[{}, {}])], 3)


def test_detections_without_area_are_dropped():
    boxes = torch.tensor([[0.0, 0, 10, 10], [5, 5, 5, 20], [30, 30, 30.001, 40]])
    candidates = Candidates(boxes, torch.tensor([0.5, 0.9, 0.8]), torch.tensor([0, 1, 2]))
    assert filter_detections(candidates, NMSOptions())["labels"].tolist() == [0]


def test_nms_is_per_class_by_default():
    boxes = torch.tensor([[0.0, 0, 40, 40], [1, 1, 41, 41], [80, 80, 100, 100]])
    scores = torch.tensor([0.9, 0.8, 0.7])
    labels = torch.tensor([0, 1, 1])
    for options, kept in [({}, [0, 1, 2]), ({"nms": {"kind": "class_agnostic"}}, [0, 2])]:
        prediction = filter_detections(Candidates(boxes, scores, labels), small_network(**options).roi_heads.nms)
        assert torch.equal(prediction["boxes"], boxes[kept])


@pytest.mark.parametrize(
    "wrong", [torch.rand(3, 64, 64) * 255, torch.full((3, 64, 64), math.nan), torch.zeros(3, 64, 64).byte()]
)
def test_images_that_are_not_normalized_raise(wrong):
    with pytest.raises(DataError, match="normalized"):
        small_network().eval()([wrong])
