"""The sliding window: a classifier at every position of an image pyramid (Sermanet et al. 2013, OverFeat)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from visionkit.backbones.base import Backbone
from visionkit.backbones.initialization import initialize
from visionkit.backbones.remove_padding import remove_padding
from visionkit.errors import ConfigError
from visionkit.models.classification.heads import FullyConnectedHead, deepest_stage, normal_linear
from visionkit.models.create import models
from visionkit.models.detection.parts.batch import ImageBatch, check_images, pad_to_batch
from visionkit.models.detection.parts.one_stage import AnchorOutput, OneStageDetector, topk_per_class
from visionkit.models.detection.parts.window_pyramid import Window, WindowPyramid
from visionkit.models.fully_connected_weights import copy_fully_connected
from visionkit.ops.box_coder import BoxCoder
from visionkit.ops.hard_negative_sampler import sample_with_hard_negatives
from visionkit.ops.matching import Matcher, PaddedObjects
from visionkit.ops.nms import NMSOptions
from visionkit.option_checks import check_above, check_at_least, check_not_empty, check_rising, check_within
from visionkit.registry import suggest

MODES = ("dense", "naive")

CHUNK = 64
"""Number of windows that go through the model together in the naive mode."""

WindowScores = tuple[Tensor, Tensor]
"""Logits [..., K + 1], background first, and box deltas [..., 4]."""


@dataclass(frozen=True)
class WindowOptions:
    """Windows of the sliding window, and the objects that they are for.

    Attributes:
        cells: rows and columns of the backbone's map that a window covers. None uses those of the published
            classifier (VGG: 7).
        context: pixels on each side of a window that surround its box (R-CNN: 16).
        sizes: sizes of the objects that the levels of the image pyramid are for: side in pixels of the model's input.
        aspect_ratios: height / width of the objects; each with all sizes. Ratios other than 1 distort the image.

    Raises:
        ConfigError: there is no size or ratio, or a value is out of its range.

    Example:
        >>> import visionkit as vk
        >>> vk.WindowOptions(sizes=(64.0, 128.0)).context
        16
    """

    cells: int | None = None
    context: int = 16
    sizes: tuple[float, ...] = (64.0, 96.0, 144.0, 216.0, 324.0)
    aspect_ratios: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        check_not_empty(sizes=self.sizes, aspect_ratios=self.aspect_ratios)
        check_above(0, sizes=self.sizes, aspect_ratios=self.aspect_ratios)
        check_at_least(1, cells=self.cells)
        check_at_least(0, context=self.context)


@dataclass(frozen=True)
class WindowSamplingOptions:
    """Windows of each image in the loss.

    Attributes:
        batch_size_per_image: number of windows.
        positive_fraction: maximum share of windows with an object, in 0..1.
        hard_fraction: share of the background windows that are those with the highest loss, in 0..1. The others are
            drawn at random.
        fg_iou: a window whose box has at least this IoU matches an object.
        bg_iou: a window with less than this IoU is background. A window between the two is ignored in the loss.

    Raises:
        ConfigError: a value is out of its range.

    Example:
        >>> import visionkit as vk
        >>> vk.WindowSamplingOptions(batch_size_per_image=32).fg_iou
        0.5
    """

    batch_size_per_image: int = 64
    positive_fraction: float = 0.25
    hard_fraction: float = 0.5
    fg_iou: float = 0.5
    bg_iou: float = 0.3

    def __post_init__(self) -> None:
        check_at_least(1, batch_size_per_image=self.batch_size_per_image)
        check_within(0, 1, positive_fraction=self.positive_fraction, hard_fraction=self.hard_fraction)
        check_rising(bg_iou=self.bg_iou, fg_iou=self.fg_iou)


class WindowHead(nn.Module):
    """Fully connected layers of the classifier: of single windows, or as convolutions over a level.

    Args:
        channels: channels of the map.
        cells: rows and columns of the map that a window covers.
        width: units of fc6 and fc7.
        dropout: dropout after each of them.
        num_classes: K.
        box_regression: whether boxes are refined; the deltas are shared by all classes.
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
        """Return logits and deltas of all windows [B, A] of maps [B, C, h, w], row by row, level after level."""
        maps = [self.trunk.fully_convolutional(level).flatten(2).mT for level in levels]
        return self._predict(torch.cat(maps, dim=1))

    def classify_windows(self, maps: Tensor) -> WindowScores:
        """Return logits and deltas of windows [N] from the map [N, C, cells, cells] of each."""
        return self._predict(self.trunk(maps))

    def _predict(self, features: Tensor) -> WindowScores:
        zeros = features.new_zeros(*features.shape[:-1], 4)
        return self.cls_score(features), zeros if self.bbox_pred is None else self.bbox_pred(features)


@models.register("sliding_window")
class SlidingWindow(OneStageDetector):
    """A classifier of windows, with background as additional class, over an image pyramid, followed by NMS.

    There are two forms with equal scores. "naive" crops each window of each level and classifies it by itself. "dense"
    turns the fully connected layers into convolutions and runs the model over each level once, so that computation is
    shared by overlapping windows (Sermanet et al. 2013, section 3.5).

    The forms are only equal if the score of a window does not depend on the pixels around it. With zero padding it
    does: where a cropped window is padded with zeros, the level has pixels. Hence the backbone runs without padding.
    Each cell of its map then depends on one window of pixels, and neighboring windows are a stride apart. Pretrained
    weights can still be used. Backbones that need their padding, with skip connections or branches (ResNet, DenseNet,
    GoogLeNet), are refused.

    Training runs the dense mode and draws windows from its output. Apart from BatchNorm statistics, the gradients are
    those of the cropped windows (section 5: "multiple locations of an image may be trained simultaneously"). Drawn are
    windows with an object, background at random, and background with the highest loss (section 5: "the most offending
    ones"). Windows stay on the grid; random scaling and shifting of images moves objects relative to it.

    Args:
        backbone: source of the feature map, without skip connections. Stages behind the deepest of `out_stages` are not
            built; the stride of that stage is the stride of the windows.
        num_classes: K, without background; labels are 0..K-1.
        windows: size of the windows, and sizes of the objects that they are for.
        sampling: windows of each image in the loss.
        head_channels: units of fc6 and fc7 (VGG, OverFeat: 4096). If the backbone has VGG's ImageNet weights and the
            sizes fit, these layers start from the weights of VGG's classifier.
        head_dropout: dropout after each of them.
        box_regression: whether boxes are refined (section 4), by one regressor for all classes.
        mode: "dense", or "naive" for predictions window by window.
        topk_candidates: maximum number of detections of each class that enter NMS.
        nms: filter of overlapping detections.

    Attributes:
        spec: primitives from which `create_model` builds the same structure.

    Raises:
        ConfigError: options that contradict each other, or a backbone that does not work without padding.

    Example:
        >>> import torch
        >>> import visionkit as vk
        >>> from visionkit.models.detection.sliding_window import WindowOptions
        >>> backbone = vk.create_backbone("patch_cnn_33", weights="none")
        >>> windows = WindowOptions(context=4, sizes=(40.0,))
        >>> model = vk.SlidingWindow(backbone, num_classes=3, windows=windows, head_channels=32).eval()
        >>> (prediction,) = model([torch.randn(3, 64, 64)])
        >>> sorted(prediction)
        ['boxes', 'labels', 'scores']
    """

    task: ClassVar[str] = "detection"
    can_be_head: ClassVar[bool] = False
    size_multiple = 1
    anchors: WindowPyramid
    head: WindowHead

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        *,
        windows: WindowOptions = WindowOptions(),
        sampling: WindowSamplingOptions = WindowSamplingOptions(),
        head_channels: int = 4096,
        head_dropout: float = 0.5,
        box_regression: bool = False,
        mode: Literal["dense", "naive"] = "dense",
        topk_candidates: int = 400,
        nms: NMSOptions = NMSOptions(iou=0.3, max_detections=100, score_threshold=0.05),
    ) -> None:
        if mode not in MODES:
            raise ConfigError(f"mode={mode!r}{suggest(mode, MODES)}")
        stage = deepest_stage(backbone)
        cells = windows.cells or max((backbone.native_size - stage.margin) // stage.stride, 1)
        window = Window(remove_padding(backbone) + (cells - 1) * stage.stride, stage.stride, windows.context)
        if window.box < 1:
            raise ConfigError(f"windows: context={window.context} leaves no box in a window of {window.side} pixels")
        head = WindowHead(stage.channels, cells, head_channels, head_dropout, num_classes, box_regression)
        copy_fully_connected(head.trunk.layers, backbone)
        super().__init__(
            backbone,
            num_classes,
            neck=nn.Identity(),
            head=head,
            anchors=WindowPyramid(window, windows.sizes, windows.aspect_ratios),
            matcher=Matcher(sampling.fg_iou, sampling.bg_iou),
            box_coder=BoxCoder(weights=(10.0, 5.0)),
            nms=nms,
        )
        self.mode, self.topk_candidates, self.sampling = mode, topk_candidates, sampling

    def losses(self, output: AnchorOutput, objects: PaddedObjects) -> dict[str, Tensor]:
        """Return softmax loss of classes and background, and smooth L1 loss of boxes, of windows drawn from each image.

        Returns:
            `loss_classifier`, the mean over the windows, and with `box_regression` `loss_box`, summed over the matched
            windows and divided by their number; 0 without any.
        """
        targets = self.anchor_targets(output.anchors, objects)
        entropy = functional.cross_entropy(output.logits.mT, targets.classes, ignore_index=-1, reduction="none")
        options = self.sampling
        drawn = sample_with_hard_negatives(
            targets.classes,
            entropy.detach(),
            options.batch_size_per_image,
            options.positive_fraction,
            options.hard_fraction,
        )
        classifier = entropy.masked_fill(~drawn, 0.0).sum() / drawn.sum().clamp(min=1)
        if self.head.bbox_pred is None:
            return {"loss_classifier": classifier}
        drawn_objects = targets.select(drawn) & targets.positive
        predicted, wanted = self.matched_deltas(output, targets)
        errors = functional.smooth_l1_loss(predicted, wanted, reduction="none").masked_fill(
            ~drawn_objects[:, None], 0.0
        )
        return {"loss_classifier": classifier, "loss_box": errors.sum() / drawn_objects.sum().clamp(min=1)}

    def scores(self, output: AnchorOutput) -> Tensor:
        """Return the softmax scores without background; see `OneStageDetector.scores`."""
        return output.logits.softmax(dim=-1)[..., 1:]

    def select_candidates(self, scores: Tensor, anchors_per_level: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Select the best windows of each class; see `OneStageDetector.select_candidates`."""
        return topk_per_class(scores, self.nms.score_threshold, self.topk_candidates)

    def dense(self, levels: Sequence[Tensor]) -> WindowScores:
        """Return logits and deltas of all windows [B, A] of levels [B, 3, h, w], from one pass over each level."""
        return self.head([self._deepest_map(level) for level in levels])

    def naive(self, levels: Sequence[Tensor]) -> WindowScores:
        """Return the same as `dense`, window by window."""
        per_level = [self._classify_crops(level) for level in levels]
        logits, deltas = (torch.cat(tensors, dim=1) for tensors in zip(*per_level, strict=True))
        return logits, deltas

    def _classify_crops(self, level: Tensor) -> WindowScores:
        windows = self.anchors.windows(level)  # a view; below, `CHUNK` windows at a time are copied
        images, rows, columns = windows.shape[0], *windows.shape[2:4]
        indices = torch.cartesian_prod(*(torch.arange(end, device=level.device) for end in (images, rows, columns)))
        per_chunk = []
        for image, row, column in (chunk.unbind(1) for chunk in indices.split(CHUNK)):
            crops = windows[image, :, row, column].contiguous(memory_format=torch.channels_last)
            per_chunk.append(self.head.classify_windows(self._deepest_map(crops)))
        logits, deltas = (torch.cat(tensors).unflatten(0, (images, -1)) for tensors in zip(*per_chunk, strict=True))
        return logits, deltas

    def _deepest_map(self, x: Tensor) -> Tensor:
        *_, deepest = self.backbone(x).values()
        return deepest

    def _anchor_output(self, images: list[Tensor]) -> tuple[ImageBatch, AnchorOutput]:
        batch = pad_to_batch(images, self.size_multiple)
        check_images(batch, self.backbone.std, self.training)
        levels = self.anchors.levels(batch.tensor)
        classify = self.naive if self.mode == "naive" and not self.training else self.dense
        return batch, self._with_anchors(batch, levels, *classify(levels))
