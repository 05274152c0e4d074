"""torchvision's detectors with random weights, and comparisons of ours with them."""

import copy
from unittest import mock

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.detection import _utils as torchvision_utils
from torchvision.models.detection import fasterrcnn_resnet50_fpn, maskrcnn_resnet50_fpn
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.models.detection.retinanet import _default_anchorgen
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from tests.helpers.detectors import images
from visionkit.models.detection.parts.torchvision_weights import PublishedDetector
from visionkit.ops.balanced_sampler import BalancedSampler
from visionkit.ops.boxes import SMALLEST_DETECTION, has_area

THEIR_NAMES = {
    "loss_rpn_objectness": "loss_objectness",
    "loss_rpn_box": "loss_rpn_box_reg",
    "loss_classifier": "loss_classifier",
    "loss_box": "loss_box_reg",
}
"""Our losses of Faster R-CNN in their order, with torchvision's names."""


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


def torchvision_retinanet(classes):
    """torchvision's model with random weights that give varied scores, without its resizing; class 0 scores about 0."""
    torch.manual_seed(3)
    behind = LastLevelP6P7(256, 256)
    backbone = resnet_fpn_backbone(
        backbone_name="resnet18",
        weights=None,
        norm_layer=nn.BatchNorm2d,
        trainable_layers=5,
        returned_layers=[2, 3, 4],
        extra_blocks=behind,
    )
    network = torchvision.models.detection.RetinaNet(
        backbone,
        classes + 1,
        image_mean=[0.0] * 3,
        image_std=[1.0] * 3,
        anchor_generator=_default_anchorgen(),
    )
    network.transform.resize = lambda image, target: (image, target)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.8, 1.2)
    head = network.head
    head.classification_head.cls_logits.weight.data *= 10
    head.classification_head.cls_logits.bias.data.fill_(-2.0).view(-1, classes + 1)[:, 0] = -60.0
    head.classification_head.cls_logits.weight.data.view(9, classes + 1, -1)[:, 0] = 0.0
    head.regression_head.bbox_reg.weight.data *= 5
    network.to(memory_format=torch.channels_last)
    network.backbone.register_forward_pre_hook(
        lambda _, inputs: (inputs[0].contiguous(memory_format=torch.channels_last),)
    )
    return network


def with_background(targets: list[dict]) -> list[dict]:
    """Return targets for torchvision, whose label 0 is the background."""
    return [{"boxes": target["boxes"], "labels": target["labels"] + 1} for target in targets]


class SpreadSampler(BalancedSampler):
    """A sampler whose keys depend on nothing but the order of the boxes that are not ignored."""

    def random_keys(self, classes: Tensor) -> Tensor:
        return ((classes >= 0).cumsum(dim=1) * 0.61803398875) % 1


def sample_of_torchvision(self, classes: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Return the masks of positives and background that `SpreadSampler` draws, for torchvision's sampler."""
    drawn = []
    for image_classes in classes:
        indices, used, _ = SpreadSampler(self.batch_size_per_image, self.positive_fraction)(image_classes[None])
        drawn.append(torch.zeros_like(image_classes, dtype=torch.bool).index_fill(0, indices[used], True))
    masks = list(zip(drawn, classes, strict=True))
    return [mask & (own >= 1) for mask, own in masks], [mask & (own == 0) for mask, own in masks]


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

    Both draw the same sample of anchors and proposals. The step is computed in float64 with copies of the models, so
    that the result does not depend on the order in which a CPU computes sums.

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
    with (
        mock.patch.object(torchvision_utils.BalancedPositiveNegativeSampler, "__call__", sample_of_torchvision),
        mock.patch.object(BalancedSampler, "random_keys", SpreadSampler.random_keys),
    ):
        expected = reference(inputs, their_targets or with_background(targets))
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


def assert_same_detections(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    """Assert equality with torchvision, whose labels start at 1, and which keeps boxes without area after clipping."""
    has_sides = has_area(theirs["boxes"], SMALLEST_DETECTION)
    number = int(has_sides.sum())
    assert number > 10
    assert len(set(ours["labels"].tolist())) > 1
    expected = {key: value[has_sides] for key, value in theirs.items()}
    ours = {key: value[:number] for key, value in ours.items()}
    torch.testing.assert_close(ours["boxes"], expected["boxes"], atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(ours["scores"], expected["scores"], atol=1e-4, rtol=1e-4)
    assert ours["labels"].tolist() == (expected["labels"] - 1).tolist()
