"""A task made in Python behaves exactly like one made from a recipe with the same options."""

import lightning.pytorch as pl
import pytest
import torch

import visionkit as vk
from tests.helpers.small_trainer import small_trainer
from visionkit.cli.config.build import build_data, build_task
from visionkit.data.datamodule import VisionData
from visionkit.data.proposals.proposal_source import ProposalOptions
from visionkit.pipelines import (
    ClassificationInferenceOptions,
    DetectionInferenceOptions,
    RuntimeOptions,
    SegmentationInferenceOptions,
)
from visionkit.preprocessing.classification import ClassificationPreprocessOptions
from visionkit.preprocessing.detection import DetectionPreprocessOptions
from visionkit.preprocessing.segmentation import SegmentationPreprocessOptions
from visionkit.tasks import (
    Classification,
    ClassificationEvaluationOptions,
    ClassificationLossOptions,
    Detection,
    DetectionEvaluationOptions,
    MixingOptions,
    OptimizerOptions,
    ScheduleOptions,
    Segmentation,
    SegmentationEvaluationOptions,
    SegmentationLossOptions,
)

SEED = 7
OPTIMIZER = {"name": "adamw", "lr": 0.001, "base_batch_size": 2}
SCHEDULE = {"name": "constant", "warmup_steps": 0}
BACKBONE = {"name": "resnet18", "weights": "none"}


def splits(**options):
    return {name: {"split": name, "count": 4, "size": 64, **options} for name in ("train", "val")}


def loading(**options):
    return {"format": "shapes", "splits": splits(**options), "batch_size": 2, "num_workers": 0}


SINGLE_OBJECT = {"max_objects": 1, "empty_share": 0.0}
MULTI_SCALE = {"size": [96, 96], "multi_scale": [64, 128], "multi_scale_every": 1}
SMALL_DETECTOR = {"head_channels": 16}


def detection_recipe(tmp_path):
    return {
        "task": "detection",
        "model": {"name": "retinanet", "fpn_channels": 16, "backbone": BACKBONE},
        "data": loading(),
        "preprocess": MULTI_SCALE,
        "inference": {"tta_scales": [1.0, 1.5], "flip": True, "score_threshold": 0.2},
        "evaluation": {"metric": "voc07"},
    }


def detection_in_python(tmp_path):
    data = VisionData(**loading())
    task = Detection(
        vk.RetinaNet(vk.create_backbone(**BACKBONE), len(data.class_names), fpn_channels=16),
        data.class_names,
        data.category_ids,
        preprocess=DetectionPreprocessOptions(**MULTI_SCALE),
        optimizer=OptimizerOptions(**OPTIMIZER),
        schedule=ScheduleOptions(**SCHEDULE),
        inference=DetectionInferenceOptions(tta_scales=[1.0, 1.5], flip=True, score_threshold=0.2),
        evaluation=DetectionEvaluationOptions(metric="voc07"),
    )
    return task, data


def proposals_recipe(tmp_path):
    return {
        "task": "detection",
        "model": {"name": "fast_rcnn", **SMALL_DETECTOR, "backbone": {**BACKBONE, "out_stages": ["s16"]}},
        "data": {**loading(), "proposals": {"mode": "single", "count": 30, "folder": str(tmp_path)}},
        "preprocess": {"short_side": 64, "long_side": 64},
    }


def proposals_in_python(tmp_path):
    proposals = ProposalOptions(mode="single", count=30, folder=str(tmp_path))
    data = VisionData(**loading(), proposals=proposals)
    backbone = vk.create_backbone(**BACKBONE, out_stages=["s16"])
    task = Detection(
        vk.FastRCNN(backbone, len(data.class_names), **SMALL_DETECTOR),
        data.class_names,
        data.category_ids,
        preprocess=DetectionPreprocessOptions(short_side=64, long_side=64),
        optimizer=OptimizerOptions(**OPTIMIZER),
        schedule=ScheduleOptions(**SCHEDULE),
        proposals=proposals,
    )
    return task, data


def classification_recipe(tmp_path):
    return {
        "task": "classification",
        "model": {"name": "classifier", "multi_label": True, "backbone": BACKBONE},
        "data": loading(),
        "preprocess": {"short_side": 64, "crop": 56},
        "loss": {"label_smoothing": 0.1, "class_weights": "balanced"},
        "inference": {"tta_views": "ten_crop", "tta_short_sides": [64, 72], "flip": False},
        "evaluation": {"metric": "F1"},
        "runtime": {"channels_last": False},
    }


def classification_in_python(tmp_path):
    data = VisionData(**loading(), required="tags")
    task = Classification(
        vk.Classifier(vk.create_backbone(**BACKBONE), len(data.class_names), multi_label=True),
        data.class_names,
        data.category_ids,
        preprocess=ClassificationPreprocessOptions(short_side=64, crop=56),
        optimizer=OptimizerOptions(**OPTIMIZER),
        schedule=ScheduleOptions(**SCHEDULE),
        loss=ClassificationLossOptions(label_smoothing=0.1, class_weights="balanced"),
        inference=ClassificationInferenceOptions(tta_views="ten_crop", tta_short_sides=[64, 72], flip=False),
        evaluation=ClassificationEvaluationOptions(metric="F1"),
        runtime=RuntimeOptions(channels_last=False),
    )
    return task, data


def mixing_recipe(tmp_path):
    return {
        "task": "classification",
        "model": {"name": "classifier", "backbone": BACKBONE},
        "data": loading(**SINGLE_OBJECT),
        "preprocess": {"short_side": 64, "crop": 64},
        "mixing": {"mixup_alpha": 0.2, "cutmix_alpha": 1.0},
    }


def mixing_in_python(tmp_path):
    data = VisionData(**loading(**SINGLE_OBJECT), required="label")
    task = Classification(
        vk.Classifier(vk.create_backbone(**BACKBONE), len(data.class_names)),
        data.class_names,
        data.category_ids,
        preprocess=ClassificationPreprocessOptions(short_side=64, crop=64),
        optimizer=OptimizerOptions(**OPTIMIZER),
        schedule=ScheduleOptions(**SCHEDULE),
        mixing=MixingOptions(mixup_alpha=0.2, cutmix_alpha=1.0),
    )
    return task, data


def segmentation_recipe(tmp_path):
    return {
        "task": "segmentation",
        "model": {"name": "fcn32s", "head_channels": 16, "backbone": BACKBONE},
        "data": loading(semantic=True),
        "preprocess": {"scale": 1.5},
        "loss": {"terms": ["cross_entropy", "dice"], "term_weights": [1.0, 0.5]},
        "inference": {"tta_scales": [1.0, 1.25], "flip": True, "tile": 48, "overlap": 16},
        "evaluation": {"metric": "boundary_F1", "boundaries": True},
    }


def segmentation_in_python(tmp_path):
    data = VisionData(**loading(semantic=True), required="semantic")
    task = Segmentation(
        vk.FCN32s(vk.create_backbone(**BACKBONE), len(data.class_names), head_channels=16),
        data.class_names,
        data.category_ids,
        data.class_colors,
        preprocess=SegmentationPreprocessOptions(scale=1.5),
        optimizer=OptimizerOptions(**OPTIMIZER),
        schedule=ScheduleOptions(**SCHEDULE),
        loss=SegmentationLossOptions(terms=["cross_entropy", "dice"], term_weights=[1.0, 0.5]),
        inference=SegmentationInferenceOptions(tta_scales=[1.0, 1.25], flip=True, tile=48, overlap=16),
        evaluation=SegmentationEvaluationOptions(metric="boundary_F1", boundaries=True),
    )
    return task, data


CASES = {
    "detection": (detection_recipe, detection_in_python),
    "detection with proposals": (proposals_recipe, proposals_in_python),
    "classification": (classification_recipe, classification_in_python),
    "classification with mixing": (mixing_recipe, mixing_in_python),
    "segmentation": (segmentation_recipe, segmentation_in_python),
}


def from_recipe(recipe):
    recipe = {**recipe, "seed": SEED, "optimizer": OPTIMIZER, "schedule": SCHEDULE}
    data = build_data(recipe)
    return build_task(recipe, data), data


def trained(make, tmp_path):
    """The task after an epoch of two steps, and what it predicts, with the same seed."""
    pl.seed_everything(SEED, workers=True, verbose=False)
    task, data = make()
    trainer = small_trainer(default_root_dir=tmp_path)
    trainer.fit(task, data)
    trainer.test(task, data.val_dataloader(), verbose=False)
    return task, [result for batch in trainer.predict(task, data.val_dataloader()) for result in batch]


@pytest.mark.parametrize(("recipe", "in_python"), CASES.values(), ids=CASES)
def test_the_task_trains_scores_and_predicts_alike(recipe, in_python, tmp_path):
    first, first_results = trained(lambda: from_recipe(recipe(tmp_path)), tmp_path)
    second, second_results = trained(lambda: in_python(tmp_path), tmp_path)
    described = [
        {key: value for key, value in task.description().items() if key != "recipe"} for task in (first, second)
    ]
    assert described[0] == described[1]
    assert first.results.to_dict() == second.results.to_dict()
    for name, value in first.state_dict().items():
        torch.testing.assert_close(value, second.state_dict()[name], rtol=0, atol=0, msg=name)
    assert [result.to_dict() for result in first_results] == [result.to_dict() for result in second_results]
