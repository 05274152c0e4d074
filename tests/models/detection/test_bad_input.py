"""What data sets bring along that no detector may stumble over, for every registered one."""

import math

import pytest
import torch

from tests.models.detection.every import EVERY, SMALL, detected, learned, small, with_all
from tests.models.detection.networks import images
from visionkit.errors import DataError, VisionkitError
from visionkit.models import models

GIVEN_REGIONS = [name for name in sorted(SMALL) if getattr(models.get(name), "takes_proposals", False)]


def test_every_detector_is_tested_here():
    assert {name for name in models if models.get(name).task == "detection"} == set(SMALL)


@EVERY
def test_images_smaller_than_a_cell(name):
    network, shown = small(name), images((5, 7), (5, 7))
    targets = [with_all([[1.0, 1, 6, 4]], (5, 7)), with_all([], (5, 7))]
    learned(network, shown, targets)
    for prediction in detected(network, shown, [torch.tensor([[1.0, 1, 6, 4]])] * 2):
        assert ((prediction["boxes"] >= 0) & (prediction["boxes"] <= torch.tensor([7, 5, 7, 5]))).all()


@EVERY
def test_two_thousand_objects_in_a_image(name):
    corners = torch.rand(2000, 2, generator=torch.Generator().manual_seed(0)) * 80
    crowded = with_all(torch.cat([corners, corners + 12], dim=1).tolist(), (96, 96))
    learned(small(name), images((96, 96), (96, 96)), [crowded, with_all([], (96, 96))])


@EVERY
def test_no_objects_in_any_image(name):
    learned(small(name), images((64, 64), (64, 64)), [with_all([], (64, 64))] * 2)


@EVERY
def test_scores_that_are_no_numbers_are_refused(name):
    network, shown = small(name), images((64, 64))
    score_regions = network.roi_heads if hasattr(network, "roi_heads") else network.head
    if not list(score_regions.parameters()):
        score_regions = network.neck
    with torch.no_grad():
        next(score_regions.parameters()).fill_(math.nan)
    with pytest.raises(VisionkitError, match="not finite"):
        detected(network, shown, [torch.tensor([[1.0, 1, 40, 40]])])


@pytest.mark.parametrize("name", GIVEN_REGIONS)
@pytest.mark.parametrize("boxes", [[], [[4.0, 4, 40, 50]]])
def test_images_without_a_proposal(name, boxes):
    """With an object it is learned from the object itself; without one there is nothing to learn."""
    network, shown = small(name), images((64, 64), (64, 64))
    lone = {**with_all(boxes, (64, 64)), "proposals": torch.zeros(0, 4)}
    losses = learned(network, shown, [lone, lone])
    assert (sum(losses.values()).item() > 0) == bool(boxes)
    assert [len(one["boxes"]) for one in detected(network, shown, [torch.zeros(0, 4)] * 2)] == [0, 0]
    beside = detected(network, shown, [torch.zeros(0, 4), torch.tensor([[4.0, 4, 40, 50]])])
    assert len(beside[0]["boxes"]) == 0


@pytest.mark.parametrize(
    ("name", "options"), [("rcnn", {}), ("fast_rcnn", {"pooling": "max"}), ("fast_rcnn", {"pooling": "align"})]
)
@pytest.mark.parametrize("wrong", [[0, 0, math.nan, 9], [0, 0, math.inf, 9], [-math.inf, 0, 9, 9], [9, 0, 2, 9]])
def test_proposals_that_cannot_be_right_name_their_image(name, options, wrong):
    network = small(name, **options)
    sound = torch.tensor([[1.0, 1, 40, 40], [4, 4, 4, 9]])
    given = [sound, torch.cat([sound, torch.tensor([wrong], dtype=torch.float32)])]
    shown, message = images((64, 64), (64, 64)), "image 1 of the batch has proposals that are not finite or end"
    with pytest.raises(DataError, match=message):
        detected(network, shown, given)
    targets = [{**with_all([[4.0, 4, 40, 50]], (64, 64)), "proposals": own} for own in given]
    with pytest.raises(DataError, match=message):
        network.train()(shown, targets)
    assert len(detected(network, shown, [sound, sound])) == 2
