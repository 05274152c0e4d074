"""R-CNN (Girshick et al. 2013): each given proposal warped to a classifier's input and classified on its own."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from visionkit.backbones.contract import Backbone
from visionkit.errors import RecipeError
from visionkit.models.classifier_layers import take_fully_connected
from visionkit.models.detection.batch import PictureBatch, check_pictures, pad_to_batch
from visionkit.models.detection.box_head import RegionHeads, TwoLayerHead
from visionkit.models.detection.given_regions import GivenRegions
from visionkit.models.detection.warp import RegionWarp
from visionkit.models.registry import models
from visionkit.ops.matching import Objects
from visionkit.ops.suppression import Suppression


class RegionClassifier(nn.Module):
    """A backbone's deepest map of each warped region, flattened, and two fully connected layers.

    Args:
        backbone: of the network that holds this.
        head: the two layers.
        chunk: regions that go through at once in evaluation; 2000 together would not fit into memory.
    """

    def __init__(self, backbone: Backbone, head: TwoLayerHead, chunk: int) -> None:
        super().__init__()
        self.layers, self.chunk = head, chunk
        # Not registered: the backbone belongs to the network, and its values stand in a state dict once.
        self.__dict__["backbone"] = backbone

    def forward(self, x: Tensor) -> Tensor:
        """From [R, 3, size, size] to [R, channels]."""
        parts = x.split(len(x) if self.training else self.chunk) if len(x) else [x]
        return torch.cat([self._classify(part.contiguous(memory_format=torch.channels_last)) for part in parts])

    def _classify(self, x: Tensor) -> Tensor:
        if not len(x):
            return x.new_zeros(0, self.layers.fc7.out_features)
        *_, deepest = self.__dict__["backbone"](x).values()
        return self.layers(deepest)  # type: ignore[no-any-return]


@models.register("rcnn")
class RCNN(GivenRegions):
    """Warped regions through a whole classifier, with its softmax as scores (Girshick et al. 2013, appendix B).

    The boxes stay those of the proposals, and the scores the fine-tuned classifier's; the paper's support vector
    machines and its regression of boxes, the last two stages of its training, are not here yet. With the softmax in
    place of the machines the paper loses 3.3 points of mAP (appendix B), without the regression 3 to 4 (section 7.3).

    Args:
        backbone: of a classifier (the paper: AlexNet, VGG-16), with its deepest stage.
        num_classes: K, without background; labels are 0..K-1.
        warp_size: pixels that regions are warped to in each direction; None is the backbone's own size.
        context: pixels of them on each side that show the region's surroundings (section 2.1: 16).
        head_channels: of fc6 and fc7 (AlexNet: 4096).
        head_dropout: share of values dropped after each of them.
        box_batch_size: proposals of each picture in the loss (section 2.3: 128 in a step; here 64 of each of two).
        box_positive_fraction: share of objects among them at most (the same: 32 of 128).
        box_fg_iou: IoU from which a proposal counts as an object, else as background (the same: .5).
        box_score_threshold: a detection scores more, in 0..1; for evaluation, not for display.
        box_nms_iou: detections that overlap a better one of their class by more are dropped (the author's code: .3).
        box_detections: detections of a picture at most.
        suppression: which of overlapping detections stay, see `FasterRCNN`.
        chunk: regions that go through the network at once in evaluation.

    Raises:
        RecipeError: options that contradict each other or the backbone.
    """

    task: ClassVar[str] = "detection"

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        *,
        warp_size: int | None = None,
        context: int = 16,
        head_channels: int = 4096,
        head_dropout: float = 0.5,
        box_batch_size: int = 64,
        box_positive_fraction: float = 0.25,
        box_fg_iou: float = 0.5,
        box_score_threshold: float = 0.05,
        box_nms_iou: float = 0.3,
        box_detections: int = 100,
        suppression: str = "per_class",
        chunk: int = 64,
    ) -> None:
        super().__init__()
        size = warp_size or backbone.native_size
        if not 0 <= 2 * context < size:
            raise RecipeError(f"context={context}: nothing is left of regions warped to {size} pixels")
        head = TwoLayerHead(_values_of_deepest(backbone, size), head_channels, head_dropout)
        take_fully_connected(head, backbone)
        self.num_classes = num_classes
        self.backbone = backbone
        self.roi_heads = RegionHeads(
            RegionWarp(size, context),
            RegionClassifier(backbone, head, chunk),
            head_channels,
            num_classes,
            foreground_iou=box_fg_iou,
            background_iou=box_fg_iou,
            batch_size=box_batch_size,
            positive_fraction=box_positive_fraction,
            suppress=Suppression(suppression, box_nms_iou, box_detections, box_score_threshold),
        )
        for value in self.roi_heads.box_predictor.bbox_pred.parameters():
            nn.init.zeros_(value).requires_grad_(False)  # boxes stay where the proposals are
        self.to(memory_format=torch.channels_last)

    def _features(self, pictures: list[Tensor]) -> tuple[PictureBatch, dict[str, Tensor]]:
        batch = pad_to_batch(pictures, 1)
        check_pictures(batch)
        return batch, {"picture": batch.tensor}

    def _losses(self, maps: dict[str, Tensor], regions: list[Tensor], objects: list[Objects]) -> dict[str, Tensor]:
        losses = super()._losses(maps, regions, objects)
        return {"loss_classifier": losses["loss_classifier"]}


def _values_of_deepest(backbone: Backbone, size: int) -> int:
    """How many values the deepest map of a square picture has.

    Raises:
        RecipeError: the picture is too small for the network.
    """
    mode = backbone.training
    try:
        with torch.no_grad():
            blank = torch.zeros(1, 3, size, size, device=next(backbone.parameters()).device)
            *_, deepest = backbone.eval()(blank).values()
    except RuntimeError as error:
        raise RecipeError(f"warp_size={size}: {backbone.name} has nothing left of so small a picture") from error
    finally:
        backbone.train(mode)
    return deepest[0].numel()
