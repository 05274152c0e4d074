"""Small networks and targets that the detection tests share."""

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.detection import fasterrcnn_resnet50_fpn, maskrcnn_resnet50_fpn

from visionkit.backbones import create_backbone
from visionkit.models.detection.faster_rcnn import FasterRCNN
from visionkit.models.detection.parts.torchvision_weights import PublishedDetector

BACKBONES = {"fpn": {}, "c4": {}, "single": {"out_stages": ["s16"]}}
SMALL = {"head_channels": 32, "rpn_pre_nms_top_n_train": 100, "rpn_pre_nms_top_n_test": 100, "box_batch_size": 32}


THEIR_NAMES = {
    "loss_rpn_objectness": "loss_objectness",
    "loss_rpn_box": "loss_rpn_box_reg",
    "loss_classifier": "loss_classifier",
    "loss_box": "loss_box_reg",
}
"""Our losses of Faster R-CNN in their order, and what torchvision calls them."""


def small_network(form: str = "fpn", num_classes: int = 3, **options) -> FasterRCNN:
    """A ResNet-18 detector that runs in milliseconds."""
    torch.manual_seed(0)
    backbone = create_backbone("resnet18", weights="none", **BACKBONES[form])
    return FasterRCNN(backbone, num_classes, form=form, **{**SMALL, **options})


def images(*sizes: tuple[int, int]) -> list[Tensor]:
    """Noise of the given heights and widths."""
    generator = torch.Generator().manual_seed(7)
    return [torch.randn(3, *size, generator=generator) for size in sizes]


def target(boxes=(), labels=(), **more) -> dict:
    """A target from plain lists."""
    return {
        "boxes": torch.tensor(boxes, dtype=torch.float32).view(-1, 4),
        "labels": torch.tensor(labels, dtype=torch.int64),
        **more,
    }


def torchvision_reference(num_classes: int, masks: bool = False, **options) -> nn.Module:
    """torchvision's detector with random values that give varied scores, without its resizing and normalizing.

    It is fed in channels-last order like ours, so that both run the same convolution kernels and near ties
    among thousands of anchors fall alike.
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
    with torch.no_grad():  # statistics of real activations, without which fifty layers of noise give constant scores
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
    """Boxes and labels as torchvision wants them, where label 0 is the background."""
    return [{"boxes": own["boxes"], "labels": own["labels"] + 1} for own in targets]


def assert_learns_alike(
    reference: nn.Module,
    ours: nn.Module,
    published: PublishedDetector,
    names: dict[str, str],
    shown: list[Tensor],
    targets: list[dict],
    their_targets: list[dict] | None = None,
) -> None:
    """One training step of torchvision's network and ours: equal losses, equal gradients of every parameter.

    Gradients may differ by a thousandth of the largest value of their parameter: sums over thousands of anchors that
    were added up in another order.

    Args:
        reference: torchvision's.
        ours: with its values.
        published: how torchvision's keys read here.
        names: torchvision's name of each of our losses, in our order.
        shown: images.
        targets: ours.
        their_targets: the same for torchvision; None derives them.
    """
    torch.manual_seed(11)
    expected = reference.train()(shown, their_targets or with_background(targets))
    torch.manual_seed(11)
    losses = ours.train()(shown, targets)
    assert list(losses) == list(names)
    assert {names[name] for name in losses} == set(expected)
    for name, value in losses.items():
        assert value.item() == pytest.approx(expected[names[name]].item(), rel=1e-4, abs=1e-5), name
        assert value.item() > 0, name
    for step in (expected, losses):
        sum(step.values()).backward()
    theirs = published.translate({name: parameter.grad for name, parameter in reference.named_parameters()})
    for name, parameter in ours.named_parameters():
        scale = theirs[name].abs().max().item()
        torch.testing.assert_close(parameter.grad, theirs[name], atol=1e-3 * scale + 1e-7, rtol=1e-3)
