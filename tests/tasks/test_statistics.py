"""Images are normalized with the statistics that the weights were trained with."""

import logging

import pytest
import torch

from tests.helpers.small_detector import STAGES, small_task
from visionkit.backbones import create_backbone
from visionkit.data.datasets.shapes import SHAPE_OUTLINES
from visionkit.errors import DataError
from visionkit.models import create_model
from visionkit.preprocessing.detection import DetectionPreprocessOptions

NAMES = list(SHAPE_OUTLINES)
MEAN, STD = (0.5, 0.4, 0.3), (0.25, 0.125, 0.25)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A checkpoint of a detector that was trained with its own normalization."""
    path = tmp_path_factory.mktemp("run") / "best.ckpt"
    preprocess = DetectionPreprocessOptions(mean=list(MEAN), std=list(STD))
    task = small_task(NAMES, stages=[*STAGES, "s32"], preprocess=preprocess)
    checkpoint = {"state_dict": task.state_dict()}
    task.on_save_checkpoint(checkpoint)
    torch.save(checkpoint, path)
    return str(path)


def fresh():
    return create_backbone("resnet18", weights="none")


@pytest.mark.parametrize("std", [1 / 255, 0.2, 1.0])
def test_images_pass_as_preprocessing_makes_them_and_no_others(std):
    """SSD's published weights need images in -123 to 151."""
    task = small_task(
        NAMES, preprocess=DetectionPreprocessOptions(short_side=64, mean=[0.45] * 3, std=[std] * 3)
    ).eval()
    image = torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8)
    with torch.inference_mode():
        assert len(task([image])) == 1
        with pytest.raises(DataError, match="not normalized"):
            task.network([image / std])


@pytest.mark.parametrize(
    "fill",
    [
        lambda path: create_backbone("resnet18", weights=path),
        lambda path: create_model("faster_rcnn", fresh(), 6, fpn_channels=16, head_channels=16, weights=path).backbone,
        lambda path: create_model("faster_rcnn", fresh(), 2, fpn_channels=16, head_channels=16, weights=path).backbone,
        lambda path: create_model("fcn8s", fresh(), 6, weights=path).backbone,
        lambda path: create_model("classifier", fresh(), 6, weights=path).backbone,
    ],
    ids=["backbone", "detector", "detector of other classes", "segmenter", "classifier"],
)
def test_the_values_of_a_checkpoint_bring_them_along(fill, trained, caplog):
    with caplog.at_level(logging.INFO, "visionkit"):
        backbone = fill(trained)
    assert (backbone.mean, backbone.std) == (MEAN, STD)
    assert "images are normalized with its mean 0.5, 0.4, 0.3 and std 0.25, 0.125, 0.25" in caplog.text


def test_the_recipe_has_the_last_say(trained):
    def task_of(**options):
        task = small_task(NAMES)
        network = create_model("faster_rcnn", create_backbone("resnet18", weights=trained), 6)
        return type(task)(network, NAMES, preprocess=DetectionPreprocessOptions(**options))

    left, given = task_of(), task_of(mean=[0.1] * 3)
    assert (left.pipeline.preprocess_options.mean, left.pipeline.preprocess_options.std) == (list(MEAN), list(STD))
    assert (given.pipeline.preprocess_options.mean, given.pipeline.preprocess_options.std) == ([0.1] * 3, list(STD))
    assert given.backbone.mean == (0.1, 0.1, 0.1)
