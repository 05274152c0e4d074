"""The contract of every registered model: what tasks, pipelines and checkpoints rely on."""

import json
import math

import pytest
import torch

import visionkit as vk
from tests.helpers.every_detector import SMALL, full_target, predict, small, train_step
from tests.helpers.options import merge_options
from visionkit.models import models

BOXES = [[4.0, 6.0, 40.0, 50.0], [20.0, 10.0, 60.0, 40.0]]
SEGMENTERS = {
    "deconvnet": ("vgg11_bn", {}, {"head_channels": 16}),
    "deeplabv3": ("resnet50", {"output_stride": 16}, {}),
    "fc_densenet": ("fc_densenet56", {}, {}),
    "fcn16s": ("vgg11", {}, {"head_channels": 16}),
    "fcn32s": ("vgg11", {}, {"head_channels": 16}),
    "fcn8s": ("vgg11", {}, {"head_channels": 16}),
    "frrn": ("frrn_a", {}, {}),
    "patch_classifier": ("patch_cnn_33", {}, {}),
    "segnet": ("vgg11_bn", {}, {}),
    "semantic_fpn": ("resnet18", {}, {"fpn_channels": 16, "branch_channels": 32}),
    "unet": ("resnet18", {}, {}),
}
"""Backbone, options of the backbone, and options of each segmentation model that make it small."""


def segmenter(name, **more_options):
    torch.manual_seed(0)
    backbone, backbone_options, options = SEGMENTERS[name]
    backbone = vk.create_backbone(backbone, weights="none", **backbone_options)
    return vk.create_model(name, backbone, 3, **merge_options(options, more_options))


def classifier(name="classifier"):
    torch.manual_seed(0)
    return vk.create_model(name, vk.create_backbone("resnet18", weights="none"), 3)


def several_heads(name="multi"):
    torch.manual_seed(0)
    heads = {"regions": {"name": "unet", "num_classes": 2}, "tags": {"name": "classifier", "num_classes": 1}}
    return vk.create_model(name, vk.create_backbone("resnet18", weights="none"), 3, heads=heads)


MAKERS = {
    **dict.fromkeys(SMALL, small),
    **dict.fromkeys(SEGMENTERS, segmenter),
    "classifier": classifier,
    "multi": several_heads,
}
"""A function that makes a small model, by name."""
BASES = {
    "detection": vk.DetectionModel,
    "classification": vk.ClassificationModel,
    "segmentation": vk.SegmentationModel,
    "multi": vk.MultiHead,
}


def test_every_model_is_tested_here():
    assert sorted(MAKERS) == sorted(models)


@pytest.mark.parametrize("name", sorted(MAKERS))
def test_a_model_is_built_again_from_its_spec(name):
    model = MAKERS[name](name)
    assert isinstance(model, BASES[model.task])
    assert name in vk.list_models(model.task)
    assert model.num_classes == 3
    spec = json.loads(json.dumps(model.spec))
    backbone = vk.create_backbone(**{**spec.pop("backbone"), "weights": "none"})
    again = vk.create_model(spec.pop("name"), backbone, **spec)
    assert again.spec == model.spec
    again.load_state_dict(model.state_dict())
    assert all(len(values) == 3 and min(values) >= 0 for values in (model.mean, model.std))
    modules = dict(model.backbone.named_modules())
    assert all(module in modules for stage in model.stage_modules.values() for module in stage)


@pytest.mark.parametrize("name", sorted(SMALL))
def test_a_detector_gives_losses_in_training_and_predictions_in_evaluation(name):
    model = small(name)
    images, targets = [torch.rand(3, 96, 96), torch.rand(3, 96, 96)], [full_target(BOXES, (96, 96)) for _ in range(2)]
    losses = train_step(model, images, targets)
    assert losses
    assert all(value.ndim == 0 for value in losses.values())
    proposals = [target["proposals"] for target in targets]
    predictions = predict(model, images, proposals)
    assert len(predictions) == 2
    for prediction in predictions:
        check_prediction(prediction, model)
    with torch.inference_mode():
        _, beside = model.losses_and_predictions(images, targets)
    for prediction, other in zip(predictions, beside, strict=True):
        torch.testing.assert_close(other["boxes"], prediction["boxes"], rtol=1e-4, atol=1e-2)
    shapes = model.anchor_shapes((96, 96))
    assert shapes is None or (shapes.ndim == 2 and shapes.shape[1] == 2 and (shapes > 0).all())


def check_prediction(prediction, model):
    count = len(prediction["labels"])
    assert prediction["boxes"].shape == (count, 4)
    assert prediction["scores"].shape == (count,)
    assert (prediction["scores"].diff() <= 0).all()
    assert ((prediction["labels"] >= 0) & (prediction["labels"] < 3)).all()
    assert ((prediction["boxes"] >= 0) & (prediction["boxes"] <= 96)).all()
    assert ("mask_probabilities" in prediction) == model.predicts_masks
    options = model.nms_options
    assert options is None or count <= options.max_detections


@pytest.mark.parametrize("name", sorted(SEGMENTERS))
def test_a_segmentation_model_gives_logits_at_the_size_of_the_image(name):
    model, images = segmenter(name), torch.rand(2, 3, 45, 71)
    with torch.no_grad():
        logits = model.eval()(images)
    assert logits.shape == (2, 3, 45, 71)
    assert logits.isfinite().all()
    check_heads(model, images, logits)


def test_a_classifier_gives_logits():
    model, images = classifier(), torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        logits = model.eval()(images)
    assert logits.shape == (2, 3)
    check_heads(model, images, logits)


def check_heads(model, images, logits):
    """In evaluation mode there is the main head alone; in training mode every parameter gets a gradient."""
    with torch.no_grad():
        ((weight, only),) = model.eval().weighted_logits(images)
    assert weight == 1
    torch.testing.assert_close(only, logits)
    (weight, _), *auxiliary = heads = model.train().weighted_logits(images)
    assert weight == 1
    assert all(weight > 0 for weight, _ in auxiliary)
    loss = sum(weight * head.square().mean() for weight, head in heads)
    loss.backward()
    assert math.isfinite(loss.item())
    assert [name for name, value in model.named_parameters() if value.requires_grad and value.grad is None] == []
