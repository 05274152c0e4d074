"""Each rule of the recipe for a card."""

import numpy as np
import pytest

from visionkit.cli.automatic.machine import Machine
from visionkit.cli.automatic.rules import (
    CROP_SIDES,
    ENOUGH_VIEWS,
    FEW_IMAGES,
    FINETUNED_EXAMPLES,
    LEAST_VIEWS,
    SHORT_SIDE_CPU,
    THINNEST,
    TRAINING_SHARE,
    USUAL_SIDE,
    Case,
    make_plan,
)
from visionkit.data.stats.card_facts import CardFacts
from visionkit.errors import ConfigError

CPU = Machine(backbone="resnet18", speed=0.6)
GPU = Machine(gpu_memory=78.0, has_bf16=True, backbone="resnet50", speed=200.0)


def facts(task, images=200, size=(480, 640), examples=(100, 100), shapes=(), val=50, **given):
    names = [f"class {index}" for index in range(len(examples))]
    sides = np.array(shapes, float).reshape(-1, 2)
    return CardFacts(task, images, val, names, np.array(examples), size, shapes=sides, **given)


def plan(task, machine=CPU, minutes=None, model=None, **given):
    return make_plan(Case(facts(task, **given), machine, minutes, model))


def keys(made):
    return {setting.key: setting.value for setting in made.settings}


@pytest.mark.parametrize("task", ["classification", "detection", "segmentation"])
class TestEveryTask:
    def test_each_setting_has_a_reason(self, task):
        made = plan(task, minutes=5)
        assert made.reason
        assert all(setting.reason for setting in made.settings)

    def test_a_pretrained_backbone_is_used(self, task):
        assert keys(plan(task))["model.backbone.name"] == "resnet18"

    def test_without_weights_the_whole_network_trains(self, task):
        settings = keys(plan(task, machine=Machine()))
        assert settings["model.backbone.weights"] == "none"
        assert settings["model.backbone.batch_norm"] == "trained"
        assert settings["model.backbone.frozen_stages"] == 0

    def test_images_are_held_out_without_a_val_split(self, task):
        assert keys(plan(task, val=0))["data.holdout"]["fraction"] == 0.2
        assert "data.holdout" not in keys(plan(task))
        assert "data.holdout" not in keys(plan(task, val=0, images=4))
        trainval = make_plan(Case(facts(task, val=0), CPU, validates=False))
        assert "data.holdout" not in keys(trainval)

    def test_a_gpu_computes_in_bfloat16(self, task):
        assert keys(plan(task, machine=GPU))["trainer.precision"] == "bf16-mixed"
        assert "trainer.precision" not in keys(plan(task))


@pytest.mark.parametrize("task", ["detection", "segmentation"])
class TestTrainedLayers:
    def test_a_short_run_freezes_the_backbone(self, task):
        assert keys(plan(task, minutes=5))["model.backbone.frozen_stages"] == "all"
        assert keys(plan(task, minutes=500))["model.backbone.frozen_stages"] == 2

    def test_few_images_freeze_the_first_stages(self, task):
        settings = keys(plan(task, images=FEW_IMAGES - 1))
        assert settings["model.backbone.frozen_stages"] == 2
        assert settings["optimizer.backbone_lr_factor"] < 1
        assert keys(plan(task, images=FEW_IMAGES))["model.backbone.frozen_stages"] == 0
        assert keys(plan(task, images=FEW_IMAGES, minutes=5))["model.backbone.frozen_stages"] == 0


@pytest.mark.parametrize(("minutes", "stages"), [(15, "all"), (20, 2)])
def test_segmentation_trains_its_backbone_in_longer_runs_only(minutes, stages):
    assert keys(plan("segmentation", minutes=minutes))["model.backbone.frozen_stages"] == stages


def test_models_without_rules_are_refused():
    with pytest.raises(ConfigError, match=r"model\.name=fcn8s: without a recipe, segmentation takes unet"):
        plan("segmentation", model="fcn8s")


class TestDetection:
    def test_masks_of_the_objects_are_predicted(self):
        assert plan("detection", has_masks=True).recipe == "mask_rcnn_few_images"

    def test_boxes_are_predicted_otherwise(self):
        assert plan("detection").recipe == "faster_rcnn_few_images"

    def test_the_model_that_is_asked_for_is_kept(self):
        assert plan("detection", model="retinanet").recipe == "retinanet_efficientnet_lite0"

    def test_small_objects_need_a_larger_input(self):
        _, usual, largest = SHORT_SIDE_CPU
        sides = [
            keys(plan("detection", shapes=[(share, share)] * 20))["preprocess.short_side"]
            for share in (0.2, 0.05, 0.01)
        ]
        assert sides[0] == usual
        assert usual < sides[1] < largest
        assert sides[2] == largest

    def test_the_side_that_is_asked_for_is_kept(self):
        shapes = [(0.01, 0.1)] * 20
        cases = [Case(facts("detection", shapes=shapes), CPU, side=side) for side in (256, 1024)]
        settings, larger = (keys(make_plan(case)) for case in cases)
        assert (settings["preprocess.short_side"], settings["preprocess.long_side"]) == (256, 512)
        assert settings["model.anchors.sizes"] == [[8, 32], [16, 64], [32, 128], [64, 256]]
        assert "model.anchors.sizes" not in larger, "anchors are for inputs of this size"

    def test_a_short_time_takes_a_smaller_input(self):
        shapes = [(0.05, 0.05)] * 20
        sides = [
            keys(plan("detection", minutes=minutes, shapes=shapes))["preprocess.short_side"] for minutes in (1, 10, 200)
        ]
        assert SHORT_SIDE_CPU[0] == sides[0] < sides[1] < sides[2]

    def test_inputs_above_the_usual_size_need_more_steps_than_smaller_ones(self):
        _, usual, _ = SHORT_SIDE_CPU
        shapes = [(0.05, 0.05)] * 20
        minutes = 1.5 * LEAST_VIEWS * usual**2 * 640 / 480 / 1e6 / (60 * TRAINING_SHARE * CPU.speed)
        assert keys(plan("detection", minutes=minutes, shapes=shapes))["preprocess.short_side"] == usual
        minutes *= ENOUGH_VIEWS / LEAST_VIEWS
        assert keys(plan("detection", minutes=minutes, shapes=shapes))["preprocess.short_side"] > usual

    def test_masks_take_time(self):
        shapes = [(0.05, 0.05)] * 20
        boxes, masks = (
            plan("detection", minutes=12, shapes=shapes, has_masks=has_masks) for has_masks in (False, True)
        )
        assert keys(boxes)["preprocess.short_side"] > keys(masks)["preprocess.short_side"]

    def test_a_detector_for_squares_gets_a_square(self):
        shapes = [(0.2, 0.4), (0.4, 0.2), (0.3, 0.3)] * 5
        assert keys(plan("detection", model="ssd", shapes=shapes))["preprocess.size"] == [SHORT_SIDE_CPU[1]] * 2
        assert keys(plan("detection", model="ssd", shapes=shapes))["model.scales"] == [0.28, 0.4]
        found = keys(plan("detection", model="yolov2", shapes=shapes, size=(480, 640)))["model.anchor_shapes"]
        assert [48.0, 96.0] in found, "0.2 x 0.4 of a short side of 240 pixels"
        assert not {"preprocess.size", "preprocess.short_side"} & keys(plan("detection", model="yolov1")).keys()

    def test_anchors_change_only_if_the_usual_ones_do_not_fit(self):
        assert "model.anchors.sizes" not in keys(plan("detection", shapes=[(0.2, 0.2)] * 20))
        settings = keys(plan("detection", shapes=[(0.04, 0.4)] * 20 + [(0.4, 0.04)] * 20))
        ratios = settings["model.anchors.aspect_ratios"]
        assert min(ratios) == pytest.approx(0.1)
        assert max(ratios) == pytest.approx(10)

    def test_the_batch_fits_the_gpu(self):
        sizes = [
            keys(plan("detection", machine=Machine(gpu_memory=memory, backbone="resnet50"))).get("data.batch_size")
            for memory in (0.0, 8.0, 16.0, 80.0)
        ]
        assert sizes == [None, 4, 8, 16]


class TestSegmentation:
    def test_large_images_are_reduced_and_cropped_in_proportion(self):
        settings = keys(plan("segmentation", size=(2 * USUAL_SIDE, 1600), thinnest=50.0))
        assert settings["preprocess.scale"] == 0.5
        crop = next(step for step in settings["data.augment"] if step["name"] == "RandomCrop")
        assert crop == {"name": "RandomCrop", "height": 512, "width": 512}

    @pytest.mark.parametrize(("thinnest", "scale"), [(4.0, None), (THINNEST / 0.8, 0.8)])
    def test_thin_regions_stay_visible(self, thinnest, scale):
        settings = keys(plan("segmentation", size=(2 * USUAL_SIDE, 1600), thinnest=thinnest))
        assert settings.get("preprocess.scale") == scale

    def test_small_images_keep_their_size(self):
        assert not {"preprocess.scale", "data.augment"} & keys(plan("segmentation", size=(USUAL_SIDE, 700))).keys()


class TestClassification:
    def test_few_images_train_only_the_head(self):
        made = plan("classification", examples=[FINETUNED_EXAMPLES - 1] * 2)
        assert made.recipe == "transfer_head"
        assert "model.backbone.pre_logits" not in keys(made)

    @pytest.mark.parametrize(
        ("size", "expected"),
        [((480, 640), [224, 299]), ((640, 480), [299, 224]), ((220, 200), [224, 224]), ((100, 900), [224, 448])],
    )
    def test_the_whole_image_keeps_its_shape(self, size, expected):
        assert keys(plan("classification", size=size))["preprocess.size"] == expected

    def test_the_side_that_is_asked_for_is_kept(self):
        made = make_plan(Case(facts("classification", size=(480, 640)), CPU, minutes=0.1, side=150))
        assert keys(made)["preprocess.size"] == [150, 200]
        many = facts("classification", images=2000, examples=[FINETUNED_EXAMPLES] * 10)
        assert keys(make_plan(Case(many, CPU, side=112)))["preprocess.crop"] == 112

    def test_all_pretrained_layers_of_timm_are_used(self):
        settings = keys(plan("classification", machine=Machine(backbone="timm/tf_efficientnet_lite0")))
        assert settings["model.backbone.pre_logits"] is True

    def test_many_images_train_all_layers_if_there_is_time(self):
        given = {"images": 2000, "examples": [FINETUNED_EXAMPLES] * 10}
        assert plan("classification", **given).recipe == "transfer_finetune"
        assert plan("classification", minutes=1, **given).recipe == "transfer_head"

    def test_without_weights_all_layers_have_one_learning_rate(self):
        made = plan("classification", machine=Machine())
        assert made.recipe == "transfer_finetune"
        assert keys(made)["optimizer.stage_lr_decay"] == keys(made)["optimizer.backbone_lr_factor"] == 1

    def test_many_images_in_a_short_time_take_a_smaller_input(self):
        sides = [
            min(keys(plan("classification", images=10_000, minutes=minutes))["preprocess.size"])
            for minutes in (1, 8, 100)
        ]
        assert CROP_SIDES[-1] == sides[0] < sides[1] < sides[2] == CROP_SIDES[0]

    def test_unequal_classes_are_weighted(self):
        assert keys(plan("classification", examples=(100, 0, 40)))["loss.class_weights"] == "balanced"
        for given in ({"examples": (100, 0, 80)}, {"examples": (100, 40), "multi_label": True}):
            assert "loss.class_weights" not in keys(plan("classification", **given))

    def test_several_classes_of_an_image(self):
        assert keys(plan("classification", multi_label=True))["model.multi_label"] is True
        assert "model.multi_label" not in keys(plan("classification"))
