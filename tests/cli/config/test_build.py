"""Objects that a recipe describes."""

import json

import numpy as np
import pytest
from PIL import Image

from visionkit.cli.config.build import build_backbone, build_data, build_trainer, check_length
from visionkit.cli.config.compose import compose
from visionkit.cli.config.merge import WrongValueError
from visionkit.cli.config.schema import check
from visionkit.cli.main import main
from visionkit.data.datasets.shapes import Shapes
from visionkit.errors import CheckpointError, DataError

TINY = [
    "model.backbone={name: resnet18, weights: none, batch_norm: trained, frozen_stages: 0}",
    "model.fpn_channels=16",
    "model.head_channels=16",
    "model.mask_channels=8",
    "model.roi={batch_size_per_image: 8}",
    "model.rpn={pre_nms_top_n_train: 50, post_nms_top_n_train: 20, pre_nms_top_n_test: 50, post_nms_top_n_test: 20}",
    "preprocess.short_side=64",
    "preprocess.long_side=64",
    "data.num_workers=0",
    "trainer.max_epochs=1",
    "trainer.accelerator=cpu",
    "trainer.enable_progress_bar=false",
    "trainer.enable_model_summary=false",
    "schedule.warmup_steps=0",
]


@pytest.fixture
def coco(tmp_path):
    """The folder of a tiny COCO 2017, with polygons."""
    (tmp_path / "annotations").mkdir()
    for split in ("train", "val"):
        (tmp_path / f"{split}2017").mkdir()
        images, objects = [], []
        for index in range(2):
            image = Shapes(split=split, count=2, size=64, empty_share=0.0)[index].image
            Image.fromarray(np.asarray(image)).save(tmp_path / f"{split}2017" / f"{index}.jpg")
            images.append({"id": index, "file_name": f"{index}.jpg", "height": 64, "width": 64})
            polygon = [8, 8, 40, 8, 40, 40, 8, 40]
            common = {"image_id": index, "category_id": 1, "iscrowd": 0, "area": 1024}
            objects.append({"id": index + 1, "bbox": [8, 8, 32, 32], "segmentation": [polygon], **common})
        content = {"images": images, "annotations": objects, "categories": [{"id": 1, "name": "person"}]}
        (tmp_path / "annotations" / f"instances_{split}2017.json").write_text(json.dumps(content))
    return tmp_path


def test_the_published_mask_rcnn_command_reads_masks_and_scores_them(coco, monkeypatch, capsys):
    monkeypatch.chdir(coco)
    words = ["mask_rcnn_resnet50", "coco2017", f"data.root={coco}", *TINY]
    recipe = compose(words)
    check(recipe)
    assert recipe.values["evaluation"]["metric"] == "coco_masks"
    assert main(["fit", *words]) == 0
    assert "mask_AP" in capsys.readouterr().out


def test_masks_are_read_only_where_a_model_needs_them(coco):
    for model, needed in (("mask_rcnn_resnet50", True), ("faster_rcnn_resnet50", False)):
        data = build_data(compose([model, "coco2017", f"data.root={coco}"]).values)
        assert (data.dataset("train")[0].annotation.masks is not None) == needed


def test_a_card_without_masks_is_refused_for_a_model_that_needs_them(coco):
    content = "image,x1,y1,x2,y2,class\n"
    (coco / "boxes.csv").write_text(content)
    data = build_data(compose(["mask_rcnn_resnet50", "coco2017", f"data.root={coco}"]).values)
    monkey = data.dataset("val")
    monkey.object_masks = None
    data.splits._opened.clear()
    data.splits.open = lambda split: monkey
    with pytest.raises(DataError, match="the objects of val have no masks"):
        data.dataset("val")


def without_published_weights(monkeypatch, tmp_path):
    monkeypatch.setenv("VISIONKIT_OFFLINE", "1")
    monkeypatch.setenv("VISIONKIT_WEIGHTS", str(tmp_path))
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))


def test_missing_published_weights_are_an_error_except_for_shapes(monkeypatch, tmp_path, caplog):
    without_published_weights(monkeypatch, tmp_path)
    recipe = {"model": {"backbone": {"name": "resnet18"}}, "data": {"format": "coco"}}
    with pytest.raises(CheckpointError, match=r"VISIONKIT_WEIGHTS[\s\S]*model\.backbone\.weights=none") as error:
        build_backbone(recipe)
    assert len(str(error.value).splitlines()) <= 5
    assert str(tmp_path) in str(error.value)
    assert build_backbone({**recipe, "data": {"format": "shapes"}}).is_randomly_initialized
    assert "NO PRETRAINED WEIGHTS" in caplog.text


def test_networks_without_published_weights_need_none(monkeypatch, tmp_path):
    without_published_weights(monkeypatch, tmp_path)
    recipe = {"model": {"backbone": {"name": "unet", "width": 4}}, "data": {"format": "coco"}}
    assert build_backbone(recipe).is_randomly_initialized


def test_weights_of_the_whole_model_replace_those_of_the_backbone(monkeypatch, tmp_path):
    without_published_weights(monkeypatch, tmp_path)
    recipe = {"model": {"weights": "a.ckpt", "backbone": {"name": "resnet18"}}, "data": {"format": "coco"}}
    assert build_backbone(recipe).initialized_from == "checkpoint"


@pytest.mark.parametrize("trainer", [None, {}, {"max_epochs": None}, {"accelerator": "cpu"}])
def test_a_run_without_length_is_refused(trainer):
    with pytest.raises(WrongValueError, match="max_epochs is missing"):
        check_length(trainer)


@pytest.mark.parametrize("trainer", [{"max_epochs": 0}, {"max_steps": 5}, {"max_time": "00:01:00:00"}])
def test_any_length_will_do(trainer):
    check_length(trainer)


def test_a_single_callback_needs_no_list():
    timer = {"class_path": "lightning.pytorch.callbacks.Timer"}
    options = {"max_epochs": 1, "accelerator": "cpu", "enable_progress_bar": False}
    for given in (timer, [timer]):
        trainer = build_trainer({"trainer": {**options, "callbacks": given}}, [], False)
        assert [type(callback).__name__ for callback in trainer.callbacks].count("Timer") == 1
