"""Small models, images and targets of the detection tests."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.detection import fasterrcnn_resnet50_fpn, maskrcnn_resnet50_fpn

from tests.helpers.options import merge_options
from visionkit.backbones import create_backbone
from visionkit.models import create_model
from visionkit.models.detection.faster_rcnn import FasterRCNN
from visionkit.models.detection.parts.torchvision_weights import PublishedDetector

BACKBONES = {"fpn": {}, "c4": {}, "single": {"out_stages": ["s16"]}}
SMALL = {"head_channels": 32, "rpn": {"pre_nms_top_n_train": 100, "pre_nms_top_n_test": 100}, "roi": {"batch_size": 32}}


THEIR_NAMES = {
    "loss_rpn_objectness": "loss_objectness",
    "loss_rpn_box": "loss_rpn_box_reg",
    "loss_classifier": "loss_classifier",
    "loss_box": "loss_box_reg",
}
"""Our losses of Faster R-CNN in their order, with torchvision's names."""


def small_network(form: str = "fpn", num_classes: int = 3, **options) -> FasterRCNN:
    """Return a ResNet-18 detector that runs in milliseconds."""
    torch.manual_seed(0)
    backbone = create_backbone("resnet18", weights="none", **BACKBONES[form])
    return create_model("faster_rcnn", backbone, num_classes, form=form, **merge_options(SMALL, options))


def images(*sizes: tuple[int, int]) -> list[Tensor]:
    """Return noise of the given heights and widths."""
    generator = torch.Generator().manual_seed(7)
    return [torch.randn(3, *size, generator=generator) for size in sizes]


def target(boxes=(), labels=(), **more) -> dict:
    """Return a target from plain lists."""
    return {
        "boxes": torch.tensor(boxes, dtype=torch.float32).view(-1, 4),
        "labels": torch.tensor(labels, dtype=torch.int64),
        **more,
    }


def torchvision_reference(num_classes: int, masks: bool = False, **options) -> nn.Module:
    """Return torchvision's detector with random weights that give varied scores, without resizing and normalization.

    Its input is in channels-last order like ours, so that both run the same convolution kernels, and near ties among
    thousands of anchors are broken alike.
    """
    torch.manual_seed(3)
    make = maskrcnn_resnet50_fpn if masks else fasterrcnn_resnet50_fpn
    network = make(
        weights=None,
        weights_backbone=None,
        num_classes=num_classes + 1,
        image_mean=[0.0, 0.0, 0.0],
        image_std=[1.0, 1.0, 1.0],
        **options,
    )
    network.transform.resize = lambda image, target: (image, target)
    with torch.no_grad():  # running statistics of activations, without which fifty random layers return constant scores
        network.train().backbone(torch.stack(images((96, 96), (96, 96))))
    for layer, scale in [
        (network.rpn.head.cls_logits, 20),
        (network.rpn.head.bbox_pred, 5),
        (network.roi_heads.box_predictor.cls_score, 5),
        (network.roi_heads.box_predictor.bbox_pred, 5),
    ]:
        layer.weight.data *= scale
    network.to(memory_format=torch.channels_last)
    network.backbone.register_forward_pre_hook(
        lambda _, inputs: (inputs[0].contiguous(memory_format=torch.channels_last),)
    )
    return network


def with_background(targets: list[dict]) -> list[dict]:
    """Return targets for torchvision, whose label 0 is the background."""
    return [{"boxes": target["boxes"], "labels": target["labels"] + 1} for target in targets]


def assert_learns_alike(
    reference: nn.Module,
    ours: nn.Module,
    published: PublishedDetector,
    names: dict[str, str],
    inputs: list[Tensor],
    targets: list[dict],
    their_targets: list[dict] | None = None,
) -> None:
    """Assert equal losses, and equal gradients of every parameter, after a step of torchvision's model and ours.

    The step is computed in float64 with copies of the models, so that the result does not depend on the order in which
    a CPU computes sums.

    Args:
        reference: torchvision's model.
        ours: our model with the same weights.
        published: translates torchvision's keys to ours.
        names: torchvision's name of each of our losses, in our order.
        inputs: images.
        targets: our targets.
        their_targets: targets for torchvision; None derives them from `targets`.
    """
    reference, ours = (copy.deepcopy(model).double().train() for model in (reference, ours))
    inputs = [image.double() for image in inputs]
    torch.manual_seed(11)
    expected = reference(inputs, their_targets or with_background(targets))
    torch.manual_seed(11)
    losses = ours(inputs, targets)
    assert list(losses) == list(names)
    assert {names[name] for name in losses} == set(expected)
    for name, value in losses.items():
        assert value.dtype == torch.float64, name
        assert value.item() == pytest.approx(expected[names[name]].item(), rel=1e-6), name
        assert value.item() > 0, name
    for step in (expected, losses):
        sum(step.values()).backward()
    theirs = published.translate({name: parameter.grad for name, parameter in reference.named_parameters()})
    for name, parameter in ours.named_parameters():
        scale = theirs[name].abs().max().item()
        torch.testing.assert_close(parameter.grad, theirs[name], atol=1e-6 * scale + 1e-12, rtol=1e-6)
