"""A detector of torchvision in our task returns the same losses and detections as alone, with labels from 0."""

import copy

import pytest
import torch
from torch import nn
from torchvision.models import detection
from torchvision.models.detection.anchor_utils import AnchorGenerator

from tests.helpers.small_detector import small_data
from tests.helpers.small_trainer import small_trainer
from visionkit.data.datasets.shapes import SHAPE_OUTLINES
from visionkit.errors import ConfigError, VisionkitError
from visionkit.models.detection.from_torchvision import FromTorchvision
from visionkit.preprocessing.detection import DetectionPreprocessOptions
from visionkit.tasks import Detection

NAMES = list(SHAPE_OUTLINES)
PREPROCESS = DetectionPreprocessOptions(short_side=64, long_side=128)


def fcos(classes):
    """FCOS on two convolutions, with torchvision's own resizing and normalization."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3, 4, 1), nn.ReLU(), nn.Conv2d(8, 32, 3, 2, 1), nn.ReLU()]
    backbone = nn.Sequential(*layers)
    backbone.out_channels = 32
    network = detection.FCOS(
        backbone,
        num_classes=classes + 1,
        min_size=64,
        max_size=128,
        image_mean=[0.5, 0.4, 0.3],
        image_std=[0.2, 0.25, 0.3],
        anchor_generator=AnchorGenerator(((8,),), ((1.0,),)),
        score_thresh=0.0,
        detections_per_img=100,
    )
    nn.init.constant_(network.head.regression_head.bbox_reg.bias, 1.0)  # boxes of some size
    return network


def test_predictions_are_torchvisions_with_labels_from_0():
    alone = fcos(len(NAMES)).eval()
    task = Detection(FromTorchvision(copy.deepcopy(alone), len(NAMES)), NAMES, preprocess=PREPROCESS).eval()
    assert task.pipeline.preprocess_options.mean == pytest.approx([0.5, 0.4, 0.3])
    images = [torch.randint(0, 256, (3, *shape), dtype=torch.uint8) for shape in ((64, 96), (128, 64))]
    with torch.no_grad():
        expected, predictions = [alone([image / 255])[0] for image in images], task(images)
    for theirs, ours in zip(expected, predictions, strict=True):
        objects = theirs["labels"] > 0  # FCOS also scores a class 0
        assert 0 < len(ours["scores"]) == objects.sum() < len(objects)
        torch.testing.assert_close(ours["scores"], theirs["scores"][objects].sort(descending=True).values)
        assert ours["labels"].min() >= 0
        for box, label, score in zip(*(ours[key] for key in ("boxes", "labels", "scores")), strict=True):
            same = (theirs["labels"] == label + 1) & ((theirs["boxes"] - box).abs().amax(dim=1) < 0.01)
            assert (theirs["scores"][same] - score).abs().min() < 1e-5


def test_losses_are_torchvisions_and_crowds_are_background():
    alone = fcos(2).train()
    ours = FromTorchvision(copy.deepcopy(alone), 2).train()
    mean, std = (torch.tensor(value).view(3, 1, 1) for value in (ours.mean, ours.std))
    image, boxes = torch.rand(3, 64, 96), torch.tensor([[4.0, 6, 40, 50], [50, 10, 90, 60]])
    expected = alone([image], [{"boxes": boxes[:1], "labels": torch.tensor([2])}])
    target = {"boxes": boxes, "labels": torch.tensor([1, 0]), "crowd": torch.tensor([False, True])}
    losses = ours([(image - mean) / std], [target])
    assert losses.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(losses[name], value)
    with pytest.raises(VisionkitError, match="needs targets"):
        ours([image])


def test_it_trains_and_is_scored_under_the_task(tmp_path):
    trainer = small_trainer(default_root_dir=tmp_path)
    trainer.fit(Detection(FromTorchvision(fcos(len(NAMES)), len(NAMES)), NAMES, preprocess=PREPROCESS), small_data())
    assert torch.isfinite(trainer.callback_metrics["train/loss"])
    assert "val/AP" in trainer.callback_metrics
    assert "val/loss" not in trainer.callback_metrics


def test_detectors_of_masks_and_other_models_are_refused():
    with torch.device("meta"):
        masks = detection.maskrcnn_resnet50_fpn(weights=None, weights_backbone=None)
    with pytest.raises(ConfigError, match="visionkit's mask_rcnn"):
        FromTorchvision(masks, 90)
    with pytest.raises(ConfigError, match="Linear is not a detector of torchvision"):
        FromTorchvision(nn.Linear(1, 1), 1)
