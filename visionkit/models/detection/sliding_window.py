"""The sliding window: a classifier at every place of an image in several sizes (Sermanet et al. 2013, OverFeat)."""

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.detection._utils import BoxCoder, Matcher

from visionkit.backbones.base import Backbone
from visionkit.backbones.initialization import initialize
from visionkit.backbones.remove_padding import remove_padding
from visionkit.errors import ConfigError
from visionkit.models.classification.heads import FullyConnectedHead, deepest_stage, normal_linear
from visionkit.models.create import models
from visionkit.models.detection.parts.batch import ImageBatch, check_images, pad_to_batch
from visionkit.models.detection.parts.one_stage import DenseOutput, OneStageDetector, best_of_each_class
from visionkit.models.detection.parts.window_pyramid import Window, WindowPyramid
from visionkit.models.fully_connected_weights import copy_fully_connected
from visionkit.ops.matching import Objects
from visionkit.ops.nms import NMSOptions
from visionkit.ops.sampling import draw
from visionkit.registry import suggest

FORMS = ("dense", "naive")

AT_ONCE = 64
"""Windows that go through the network together in the naive form."""

WindowScores = tuple[Tensor, Tensor]
"""Logits [..., K + 1], background first, and coding [..., 4] of boxes."""


class WindowHead(nn.Module):
    """The classifier's fully connected layers: of one window, or as convolutions at every place of a level.

    Args:
        channels: of the map.
        cells: rows and columns of the map that one window has.
        width: units of fc6 and fc7.
        dropout: share of their values that is dropped.
        num_classes: K.
        box_regression: whether boxes are refined; one coding for all classes.
    """

    def __init__(
        self, channels: int, cells: int, width: int, dropout: float, num_classes: int, box_regression: bool
    ) -> None:
        super().__init__()
        layers = {
            "fc6": nn.Linear(channels * cells**2, width),
            "relu6": nn.ReLU(inplace=True),
            "drop6": nn.Dropout(dropout),
            "fc7": nn.Linear(width, width),
            "relu7": nn.ReLU(inplace=True),
            "drop7": nn.Dropout(dropout),
        }
        self.trunk = FullyConnectedHead(cells, layers)
        initialize(self.trunk, "he")
        self.cls_score = normal_linear(width, num_classes + 1)
        self.bbox_pred = normal_linear(width, 4) if box_regression else None

    def forward(self, levels: Sequence[Tensor]) -> WindowScores:
        """Judge all windows [B, A] of maps [B, C, h, w], row by row, level after level."""
        return self._score_regions(torch.cat([self.trunk.dense(level).flatten(2).mT for level in levels], dim=1))

    def score_windows(self, cells: Tensor) -> WindowScores:
        """Judge windows [N] by themselves, each by its own map [N, C, cells, cells]."""
        return self._score_regions(self.trunk(cells))

    def _score_regions(self, values: Tensor) -> WindowScores:
        nowhere = values.new_zeros(*values.shape[:-1], 4)
        return self.cls_score(values), nowhere if self.bbox_pred is None else self.bbox_pred(values)


@models.register("sliding_window")
class SlidingWindow(OneStageDetector):
    """A classifier with one class more, background, over an image pyramid, followed by NMS.

    Two forms give the same scores. "naive" cuts each window out of each level and classifies it by itself. "dense"
    makes the fully connected layers convolutions and runs the network over each level once, so that what windows share
    is computed once (section 3.5).

    For that a window's score must not depend on what lies around it. Zeros that convolutions add at their borders make
    it depend: inside a level a cell sees the neighboring pixels where in a window cut out it sees zeros. So the
    backbone runs without padding here. A cell of its map then sees a window of pixels and nothing else, and windows lie
    a stride apart. Weights fit all the same, and inside the image the map is the padded network's. Networks that
    need their padding, with skip connections or branches (ResNet, DenseNet, GoogLeNet), are refused.

    Training runs the dense form and takes windows from it, which gives the gradients of these windows cut out, but
    for the statistics of BatchNorm (section 5: "multiple locations of an image may be trained simultaneously"):
    windows with an object, and background, some at random, some where the network is most wrong ("the most offending
    ones", the same). No window is moved off the grid; random scaling and shifting of images does that.

    Args:
        backbone: without skip connections; stages behind the deepest asked (`out_stages`) are not built, and its
            stride is that of the windows.
        num_classes: K, without background; labels are 0..K-1.
        cells: rows and columns of the map that a window has; None are those of the published classifier (VGG: 7).
        sizes: of the objects that the levels of the pyramid are for: side in pixels of the network's input.
        aspect_ratios: height / width of the objects; each with all sizes. Images are distorted for others than 1.
        context: pixels of a window on each side that surround its box (R-CNN: 16).
        head_channels: of fc6 and fc7 (VGG, OverFeat: 4096). Where the backbone's values are VGG's ImageNet weights
            and sizes fit, these layers begin with those of its classifier.
        head_dropout: share of values dropped after each of them.
        box_regression: whether boxes are refined (section 4), by one regressor for all classes.
        windows: of each image in the loss.
        positive_fraction: share of objects among them at most.
        hard_negatives: share of the background windows that are those with the highest wrong scores, in 0..1.
        fg_iou: IoU with an object from which a window's box counts as it ...
        bg_iou: ... and below which it is background; between the two it teaches nothing.
        form: "dense", or "naive" for predictions window by window.
        score_threshold: a detection scores more, in 0..1; for evaluation, not for display.
        class_candidates: best detections of each class that go into NMS.
        NMS: which of overlapping detections stay, by its name in `visionkit.ops.nms`: "per_class",
            "class_agnostic", "soft_linear" or "soft_gaussian".
        nms_iou: detections suffer from a better one that they overlap by more.
        soft_nms_sigma: how gently "soft_gaussian" lowers scores (Bodla et al. 2017: .5).
        detections: of an image at most.

    Attributes:
        spec: primitives from which `create_model` builds the same structure.

    Raises:
        ConfigError: options that contradict each other, or a backbone that does not work without padding.
    """

    task: ClassVar[str] = "detection"
    size_multiple = 1
    anchors: WindowPyramid
    head: WindowHead

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        *,
        cells: int | None = None,
        sizes: tuple[float, ...] = (64.0, 96.0, 144.0, 216.0, 324.0),
        aspect_ratios: tuple[float, ...] = (1.0,),
        context: int = 16,
        head_channels: int = 4096,
        head_dropout: float = 0.5,
        box_regression: bool = False,
        windows: int = 64,
        positive_fraction: float = 0.25,
        hard_negatives: float = 0.5,
        fg_iou: float = 0.5,
        bg_iou: float = 0.3,
        form: Literal["dense", "naive"] = "dense",
        score_threshold: float = 0.05,
        class_candidates: int = 400,
        nms_kind: str = "per_class",
        nms_iou: float = 0.3,
        soft_nms_sigma: float = 0.5,
        detections: int = 100,
    ) -> None:
        _check_shares(positive_fraction, hard_negatives, bg_iou, fg_iou)
        if form not in FORMS:
            raise ConfigError(f"form={form!r}{suggest(form, FORMS)}")
        stage = deepest_stage(backbone)
        cells = cells or max((backbone.native_size - stage.margin) // stage.stride, 1)
        window = Window(remove_padding(backbone) + (cells - 1) * stage.stride, stage.stride, context)
        _check_pyramid(window, sizes, aspect_ratios)
        head = WindowHead(stage.channels, cells, head_channels, head_dropout, num_classes, box_regression)
        copy_fully_connected(head.trunk.layers, backbone)
        super().__init__(
            backbone,
            num_classes,
            neck=nn.Identity(),
            head=head,
            anchors=WindowPyramid(window, sizes, aspect_ratios),
            matcher=Matcher(fg_iou, bg_iou),
            box_coder=BoxCoder(weights=(10.0, 10.0, 5.0, 5.0)),
            nms=NMSOptions(nms_kind, nms_iou, detections, score_threshold, soft_nms_sigma),
        )
        self.form, self.class_candidates = form, class_candidates
        self.windows, self.positive_fraction, self.hard_negatives = windows, positive_fraction, hard_negatives

    def losses(self, output: DenseOutput, objects: Sequence[Objects]) -> dict[str, Tensor]:
        """Softmax over the classes and background, and smooth L1 of the boxes, for windows drawn from each image.

        Returns:
            `loss_classifier`, the mean over the windows, and with `box_regression` `loss_box`, summed over the windows
            that are objects and divided by their number; 0 where there are none.
        """
        anchor_targets = self.anchor_targets(output.anchors, objects)
        each = functional.cross_entropy(output.logits.mT, anchor_targets.classes, ignore_index=-1, reduction="none")
        drawn = draw(anchor_targets.classes, each.detach(), self.windows, self.positive_fraction, self.hard_negatives)
        losses = {"loss_classifier": each[drawn].sum() / drawn.sum().clamp(min=1)}
        if self.head.bbox_pred is not None:
            learn = drawn[anchor_targets.image, anchor_targets.anchor]
            said, wanted = self.box_errors(output, anchor_targets)
            error = functional.smooth_l1_loss(said[learn], wanted[learn], reduction="sum")
            losses["loss_box"] = error / learn.sum().clamp(min=1)
        return losses

    def scores(self, output: DenseOutput) -> Tensor:
        """See `OneStageDetector.scores`."""
        return output.logits.softmax(dim=-1)[..., 1:]

    def choose(self, scores: Tensor, per_level: Sequence[int]) -> tuple[Tensor, Tensor]:
        """See `OneStageDetector.choose`."""
        return best_of_each_class(scores, self.nms.score_threshold, self.class_candidates)

    def dense(self, levels: Sequence[Tensor]) -> WindowScores:
        """Judge all windows [B, A] of levels [B, 3, h, w], each run through the network whole."""
        return self.head([self._deepest(level) for level in levels])

    def naive(self, levels: Sequence[Tensor]) -> WindowScores:
        """What `dense` gives, window by window."""
        judged = [self._crop_and_score(level) for level in levels]
        logits, deltas = (torch.cat(columns, dim=1) for columns in zip(*judged, strict=True))
        return logits, deltas

    def _crop_and_score(self, level: Tensor) -> WindowScores:
        cut = self.anchors.cut(level)  # a view: windows become tensors of their own below, `AT_ONCE` at a time
        images, rows, columns = cut.shape[0], *cut.shape[2:4]
        places = torch.cartesian_prod(*(torch.arange(end, device=level.device) for end in (images, rows, columns)))
        judged = []
        for image, row, column in (some.unbind(1) for some in places.split(AT_ONCE)):
            windows = cut[image, :, row, column].contiguous(memory_format=torch.channels_last)
            judged.append(self.head.score_windows(self._deepest(windows)))
        logits, deltas = (torch.cat(column).unflatten(0, (images, -1)) for column in zip(*judged, strict=True))
        return logits, deltas

    def _deepest(self, x: Tensor) -> Tensor:
        *_, deepest = self.backbone(x).values()
        return deepest

    def _forward_view(self, images: list[Tensor]) -> tuple[ImageBatch, DenseOutput]:
        batch = pad_to_batch(images, self.size_multiple)
        check_images(batch, self.backbone.std)
        levels = self.anchors.levels(batch.tensor)
        score_regions = self.naive if self.form == "naive" and not self.training else self.dense
        logits, deltas = score_regions(levels)
        height, width = batch.tensor.shape[-2:]
        anchors, per_level = self.anchors.grid((height, width), levels)
        return batch, DenseOutput(anchors, per_level, logits.float(), deltas.float())


def _check_shares(positive_fraction: float, hard_negatives: float, bg_iou: float, fg_iou: float) -> None:
    if not (0 <= positive_fraction <= 1 and 0 <= hard_negatives <= 1 and 0 <= bg_iou <= fg_iou <= 1):
        raise ConfigError(
            f"positive_fraction={positive_fraction} and hard_negatives={hard_negatives} must lie within 0..1, and "
            f"bg_iou={bg_iou} and fg_iou={fg_iou} must rise within it"
        )


def _check_pyramid(window: Window, sizes: Sequence[float], ratios: Sequence[float]) -> None:
    if not 0 <= 2 * window.context < window.side:
        raise ConfigError(f"context={window.context}: nothing is left of a window of {window.side} pixels")
    if not (sizes and ratios and min(*sizes, *ratios) > 0):
        raise ConfigError(f"sizes={sizes}, aspect_ratios={ratios}: at least one of each, above 0")
