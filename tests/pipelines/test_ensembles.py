import json

import pytest
import torch

from tests.helpers.overrides import TINY
from tests.helpers.small_classifier import small_classification, small_network
from tests.helpers.small_detector import small_task
from tests.helpers.small_segmenter import SmallSegmenter, small_segmentation
from visionkit.backbones import create_backbone
from visionkit.cli.main import main
from visionkit.data.datasets.shapes import SHAPE_OUTLINES, Shapes
from visionkit.data.io.images import to_tensor
from visionkit.errors import CheckpointError, ConfigError
from visionkit.models import create_model
from visionkit.ops.box_fusion import fuse_boxes
from visionkit.ops.nms import Candidates
from visionkit.pipelines import (
    ClassificationInferenceOptions,
    DetectionInferenceOptions,
    SegmentationInferenceOptions,
    load_pipeline,
    make_ensemble,
)
from visionkit.preprocessing.classification import ClassificationPreprocessOptions
from visionkit.preprocessing.detection import DetectionPreprocessOptions
from visionkit.preprocessing.segmentation import SegmentationPreprocessOptions
from visionkit.tasks import Detection

NAMES = list(SHAPE_OUTLINES)


def members():
    """Two networks that see images in different sizes, colors and views."""
    other = ClassificationPreprocessOptions(48, 40, [0.5] * 3, [0.5] * 3)
    pipelines = [
        small_classification(
            NAMES, inference=ClassificationInferenceOptions(tta_views="ten_crop", tta_short_sides=[36])
        ).pipeline,
        small_classification(NAMES, small_network(6, "resnet18"), preprocess=other).pipeline,
    ]
    return [pipeline.eval() for pipeline in pipelines]


def test_each_member_prepares_its_own_images():
    images = [torch.randint(0, 256, (3, *size), dtype=torch.uint8) for size in ((50, 70), (40, 40))]
    both = members()
    with torch.inference_mode():
        expected = (both[0](images) + both[1](images)) / 2
        torch.testing.assert_close(make_ensemble(both)(images), expected)


def test_the_mean_of_equals_is_the_prediction_of_each():
    image = torch.randint(0, 256, (3, 50, 70), dtype=torch.uint8)
    one = members()[0]
    with torch.inference_mode():
        torch.testing.assert_close(make_ensemble([one, one, one])([image]), one([image]))


def test_networks_of_other_classes_or_tasks_are_refused():
    one, several = members()[0], small_network(6)
    several.multi_label = True
    with pytest.raises(CheckpointError, match=r"checkpoint 3 has 2 classes \(ant, bee\), the first 6"):
        make_ensemble([one, one, small_classification(["ant", "bee"]).pipeline])
    with pytest.raises(CheckpointError, match="same order"):
        make_ensemble([one, small_classification(NAMES[::-1]).pipeline])
    with pytest.raises(CheckpointError, match="one label per image and with several"):
        make_ensemble([one, small_classification(NAMES, several).pipeline])
    with pytest.raises(CheckpointError, match=r"checkpoints of classification and detection cannot .* of one task"):
        make_ensemble([one, small_task(NAMES).pipeline])


def segmenters(**options):
    """Two networks of different widths, one of which halves its input."""
    both = [
        small_segmentation(NAMES, SmallSegmenter(6), inference=SegmentationInferenceOptions(flip=True, **options)),
        small_segmentation(NAMES, SmallSegmenter(6, width=8), preprocess=SegmentationPreprocessOptions(scale=0.5)),
    ]
    return [task.pipeline.eval() for task in both]


def test_segmentation_models_are_averaged_pixel_by_pixel():
    images, both = torch.randint(0, 256, (2, 3, 20, 31), dtype=torch.uint8), segmenters()
    with torch.inference_mode():
        expected = (both[0].probabilities(images, (20, 31)) + both[1].probabilities(images, (20, 31))) / 2
        torch.testing.assert_close(make_ensemble(both).probabilities(images, (20, 31)), expected)
        assert torch.equal(make_ensemble(both)([images[1]])[0], expected[1].argmax(0).to(torch.uint8))
        assert not torch.equal(expected.argmax(1), both[0].probabilities(images, (20, 31)).argmax(1))


def test_segmentation_models_share_the_tiles_of_the_first():
    both, seen = segmenters(tile=16, overlap=4), []
    for member in both:
        member.network.register_forward_pre_hook(lambda _, given: seen.append(tuple(given[0].shape[-2:])))
    with torch.inference_mode():
        (labels,) = make_ensemble(both)([torch.randint(0, 256, (3, 20, 40), dtype=torch.uint8)])
    assert labels.shape == (20, 40)
    assert set(seen) == {(16, 16), (8, 8)}


def detectors(**options):
    """Two networks with different weights, one with larger images, both with mirrored views."""
    larger = DetectionPreprocessOptions(short_side=96, long_side=200)
    torch.manual_seed(0)
    one = small_task(NAMES, inference=DetectionInferenceOptions(fusion_iou=0.4, **options))
    other = small_task(NAMES, preprocess=larger, inference=DetectionInferenceOptions(flip=True))
    return [one.pipeline.eval(), other.pipeline.eval()]


def by_hand(both, image, iou=0.4):
    """Return the fused detections of two detectors, at most one hundred."""
    with torch.inference_mode():
        found = [member([image])[0] for member in both]
    fused = fuse_boxes([Candidates(one["boxes"], one["scores"], one["labels"]) for one in found], iou)
    return {name: column[:100] for name, column in fused._asdict().items()}


def test_detections_of_several_are_fused_image_by_image():
    images, both = (
        [torch.randint(0, 256, (3, *size), dtype=torch.uint8) for size in ((50, 70), (64, 64))],
        detectors(),
    )
    with torch.inference_mode():
        found = make_ensemble(both)(images)
    for image, fused in zip(images, found, strict=True):
        expected = by_hand(both, image)
        assert len(fused["boxes"]) > 50
        torch.testing.assert_close(fused, expected, atol=1e-3, rtol=1e-4)


def test_one_detector_alone_is_not_changed():
    (one, _), image = detectors(), torch.randint(0, 256, (3, 50, 70), dtype=torch.uint8)
    with torch.inference_mode():
        assert all(torch.equal(make_ensemble([one])([image])[0][key], value) for key, value in one([image])[0].items())


def test_detectors_with_masks_are_refused():
    backbone = create_backbone("resnet18", weights="none")
    network = create_model("mask_rcnn", backbone, 6, fpn_channels=16, head_channels=16, mask_channels=16)
    with pytest.raises(ConfigError, match=r"2 checkpoints: .* MaskRCNN also predicts masks"):
        make_ensemble([small_task(NAMES).pipeline, Detection(network, NAMES).pipeline])


RECIPE = """
task: detection
model: {name: faster_rcnn, backbone: {name: resnet18, weights: none}, fpn_channels: 16, head_channels: 16}
optimizer: {lr: 0.01, base_batch_size: 2}
inference: {fusion_iou: 0.4}
data: {format: shapes}
"""


def test_the_command_scores_two_checkpoints_as_fused_by_hand(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(RECIPE)
    words = ["model.nms.score_threshold=0.15", *TINY]
    for seed in (0, 1):
        assert main(["fit", "mine.yaml", *words, f"seed={seed}", "trainer.limit_val_batches=0"]) == 0
    checkpoints = [f"runs/mine/{run}/last.ckpt" for run in (1, 2)]
    assert main(["test", *checkpoints, "data.batch_size=1", "--output", "scores"]) == 0
    assert "AP50" in capsys.readouterr().out
    rows = json.loads((tmp_path / "scores" / "predictions.json").read_text())
    both, shapes = [load_pipeline(path) for path in checkpoints], Shapes(split="val", count=3, size=64)
    for index in range(3):
        expected = by_hand(both, to_tensor(shapes[index].image))
        own = [row for row in rows if row["image_id"] == index]
        assert len(own) == len(expected["boxes"]) > 0
        torch.testing.assert_close(torch.tensor([row["score"] for row in own]), expected["scores"], atol=1e-4, rtol=0)
        corners = torch.tensor([row["bbox"] for row in own])
        corners[:, 2:] += corners[:, :2]
        torch.testing.assert_close(corners, expected["boxes"], atol=1e-2, rtol=0)
        assert [row["category_id"] - 1 for row in own] == expected["labels"].tolist()
