"""Unusual and invalid inputs of datasets, for every registered detector."""

import math

import pytest
import torch

from tests.helpers.detectors import images
from tests.helpers.every_detector import EVERY, SMALL, full_target, predict, small, train_step
from visionkit.errors import DataError, VisionkitError
from visionkit.models import models
from visionkit.models.detection.parts.external_proposals import ExternalProposalDetector
from visionkit.models.detection.parts.two_stage import TwoStageDetector

GIVEN_REGIONS = [name for name in sorted(SMALL) if models.get(name).takes_proposals]


def test_every_detector_is_tested_here():
    assert {name for name in models if models.get(name).task == "detection"} == set(SMALL)


@EVERY
def test_images_smaller_than_a_cell(name):
    network, inputs = small(name), images((5, 7), (5, 7))
    targets = [full_target([[1.0, 1, 6, 4]], (5, 7)), full_target([], (5, 7))]
    train_step(network, inputs, targets)
    for prediction in predict(network, inputs, [torch.tensor([[1.0, 1, 6, 4]])] * 2):
        assert ((prediction["boxes"] >= 0) & (prediction["boxes"] <= torch.tensor([7, 5, 7, 5]))).all()


@EVERY
def test_two_thousand_objects_in_an_image(name):
    corners = torch.rand(2000, 2, generator=torch.Generator().manual_seed(0)) * 80
    crowded = full_target(torch.cat([corners, corners + 12], dim=1).tolist(), (96, 96))
    train_step(small(name), images((96, 96), (96, 96)), [crowded, full_target([], (96, 96))])


@EVERY
def test_no_objects_in_any_image(name):
    train_step(small(name), images((64, 64), (64, 64)), [full_target([], (64, 64))] * 2)


@EVERY
def test_scores_that_are_not_finite_are_refused(name):
    network, inputs = small(name), images((64, 64))
    has_roi_heads = isinstance(network, (TwoStageDetector, ExternalProposalDetector))
    last_layers = network.roi_heads if has_roi_heads else network.head
    if not list(last_layers.parameters()):
        last_layers = network.neck
    with torch.no_grad():
        next(last_layers.parameters()).fill_(math.nan)
    with pytest.raises(VisionkitError, match="not finite"):
        predict(network, inputs, [torch.tensor([[1.0, 1, 40, 40]])])


@pytest.mark.parametrize("name", GIVEN_REGIONS)
@pytest.mark.parametrize("boxes", [[], [[4.0, 4, 40, 50]]])
def test_images_without_a_proposal(name, boxes):
    """With an object, the object itself is used as proposal; without one the losses are 0."""
    network, inputs = small(name), images((64, 64), (64, 64))
    target = {**full_target(boxes, (64, 64)), "proposals": torch.zeros(0, 4)}
    losses = train_step(network, inputs, [target, target])
    assert (sum(losses.values()).item() > 0) == bool(boxes)
    assert [len(prediction["boxes"]) for prediction in predict(network, inputs, [torch.zeros(0, 4)] * 2)] == [0, 0]
    predictions = predict(network, inputs, [torch.zeros(0, 4), torch.tensor([[4.0, 4, 40, 50]])])
    assert len(predictions[0]["boxes"]) == 0


@pytest.mark.parametrize(
    ("name", "options"), [("rcnn", {}), ("fast_rcnn", {"pooling": "max"}), ("fast_rcnn", {"pooling": "align"})]
)
@pytest.mark.parametrize("wrong", [[0, 0, math.nan, 9], [0, 0, math.inf, 9], [-math.inf, 0, 9, 9], [9, 0, 2, 9]])
def test_invalid_proposals_name_their_image(name, options, wrong):
    network = small(name, **options)
    valid = torch.tensor([[1.0, 1, 40, 40], [4, 4, 4, 9]])
    given = [valid, torch.cat([valid, torch.tensor([wrong], dtype=torch.float32)])]
    inputs, message = images((64, 64), (64, 64)), "image 1 of the batch has proposals that are not finite or end"
    with pytest.raises(DataError, match=message):
        predict(network, inputs, given)
    targets = [{**full_target([[4.0, 4, 40, 50]], (64, 64)), "proposals": proposals} for proposals in given]
    with pytest.raises(DataError, match=message):
        network.train()(inputs, targets)
    assert len(predict(network, inputs, [valid, valid])) == 2
