"""Region proposal network (Ren et al. 2015, section 3.1).

The results equal those of `torchvision.models.detection.rpn`. Differences: boxes are decoded for the best anchors
only, regression targets are computed for the sampled anchors only, crowd regions are not negatives, and losses and
proposals are separate methods, so that one forward pass gives both.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.detection.rpn import RPNHead, concat_box_prediction_layers
from torchvision.ops import batched_nms, clip_boxes_to_image

from visionkit.errors import ConfigError
from visionkit.models.detection.parts.anchors import Anchors
from visionkit.ops.balanced_sampler import BalancedSampler
from visionkit.ops.box_coder import BoxCoder
from visionkit.ops.boxes import has_area
from visionkit.ops.matching import BestMatcher, Objects, assign

SMALLEST_PROPOSAL = 1e-3
"""Side in pixels below which a clipped proposal is dropped (torchvision's `min_size`)."""

SMOOTH_L1_BETA = 1 / 9
"""Where smooth L1 turns from square to linear (torchvision, after Detectron's sigma = 3)."""


@dataclass(frozen=True)
class RPNOptions:
    """How a region proposal network is trained, and which proposals it returns.

    Attributes:
        pre_nms_top_n_train: best anchors of each level and image that enter NMS in training.
        pre_nms_top_n_test: the same in evaluation.
        post_nms_top_n_train: proposals of each image after NMS in training (Ren et al. 2015: 2000).
        post_nms_top_n_test: the same in evaluation (Lin et al. 2016: 1000).
        nms_iou: IoU above which the lower scored of two proposals of a level is removed (Ren et al. 2015: 0.7).
        fg_iou: IoU with an object from which an anchor is positive (Ren et al. 2015, section 3.1.2: 0.7).
        bg_iou: IoU below which an anchor is negative (the same: 0.3); anchors between are ignored in the loss.
        batch_size: anchors of each image in the loss (section 3.1.3: 256).
        positive_fraction: largest share of positives among them (the same: 0.5).
        score_threshold: smallest objectness of a proposal, in 0..1.

    Raises:
        ConfigError: a number is out of its range.
    """

    pre_nms_top_n_train: int = 2000
    pre_nms_top_n_test: int = 1000
    post_nms_top_n_train: int = 2000
    post_nms_top_n_test: int = 1000
    nms_iou: float = 0.7
    fg_iou: float = 0.7
    bg_iou: float = 0.3
    batch_size: int = 256
    positive_fraction: float = 0.5
    score_threshold: float = 0.0

    def __post_init__(self) -> None:
        check_sampling("rpn", self.batch_size, self.positive_fraction, self.fg_iou, self.bg_iou)
        counts = [value for name, value in vars(self).items() if name.endswith(("_train", "_test"))]
        if min(counts) < 1:
            raise ConfigError(f"rpn: the numbers of proposals before and after NMS {counts} must be at least 1")
        if not (0 <= self.nms_iou <= 1 and 0 <= self.score_threshold < 1):
            raise ConfigError(
                f"rpn: nms_iou {self.nms_iou} must be in 0..1, score_threshold {self.score_threshold} too"
            )


def check_sampling(group: str, batch_size: int, positive_fraction: float, fg_iou: float, bg_iou: float) -> None:
    """Raise ConfigError, naming the option group, for numbers with which no sample can be drawn."""
    if not 0 <= bg_iou <= fg_iou <= 1:
        raise ConfigError(f"{group}: 0 <= bg_iou {bg_iou} <= fg_iou {fg_iou} <= 1 must hold")
    if batch_size < 1 or not 0 <= positive_fraction <= 1:
        raise ConfigError(
            f"{group}: batch_size {batch_size} must be at least 1, positive_fraction {positive_fraction} in 0..1"
        )


class ScoredAnchors(NamedTuple):
    """Output of the RPN for a batch, with A anchors over all levels.

    Attributes:
        anchors: float32 [A, 4], the same for each image.
        per_level: number of anchors of each level.
        objectness: float32 [B, A], logits.
        deltas: float32 [B, A, 4], box deltas relative to the anchors.
    """

    anchors: Tensor
    per_level: list[int]
    objectness: Tensor
    deltas: Tensor


class RegionProposalNetwork(nn.Module):
    """Scores anchors, computes their losses, and turns the best ones into proposals.

    Args:
        channels: channels of the feature maps.
        anchors: anchor generator.
        options: numbers of training and proposals.
        inside_only: whether anchors that cross the border of their image are ignored in the loss (Ren et al. 2015,
            section 3.3). If all of them do, as in an image smaller than any anchor, none is ignored.
    """

    def __init__(self, channels: int, anchors: Anchors, options: RPNOptions, inside_only: bool = False) -> None:
        super().__init__()
        self.anchors, self.options, self.inside_only = anchors, options, inside_only
        self.head = RPNHead(channels, anchors.num_anchors_per_location()[0])
        self.matcher = BestMatcher(options.fg_iou, options.bg_iou)
        self.sampler = BalancedSampler(options.batch_size, options.positive_fraction)
        self.box_coder = BoxCoder(weights=(1.0, 1.0, 1.0, 1.0))

    def forward(self, maps: dict[str, Tensor], padded: tuple[int, int]) -> ScoredAnchors:
        """Return the scores and deltas of all anchors.

        Args:
            maps: one [B, channels, h, w] for each level.
            padded: height and width of the padded batch in pixels.
        """
        levels = list(maps.values())
        objectness, deltas = concat_box_prediction_layers(*self.head(levels))
        anchors, per_level = self.anchors.grid(padded, levels)
        images = len(levels[0])
        return ScoredAnchors(
            anchors, per_level, objectness.float().view(images, -1), deltas.float().view(images, -1, 4)
        )

    def propose(self, scored: ScoredAnchors, sizes: Sequence[tuple[int, int]], training: bool) -> list[Tensor]:
        """Return proposals from the best anchors; no gradient flows through them.

        Args:
            scored: output of `forward`.
            sizes: (height, width) of each image in pixels.
            training: selects the numbers of proposals before and after NMS.

        Returns:
            Per image float32 [P, 4], best first.
        """
        options = self.options
        pre_nms = options.pre_nms_top_n_train if training else options.pre_nms_top_n_test
        post_nms = options.post_nms_top_n_train if training else options.post_nms_top_n_test
        chosen, levels = self._best_of_each_level(scored, pre_nms)
        objectness = scored.objectness.detach().gather(1, chosen).sigmoid()
        deltas = scored.deltas.detach().gather(1, chosen[..., None].expand(-1, -1, 4))
        boxes = self.box_coder.decode(deltas.flatten(0, 1), scored.anchors[chosen].flatten(0, 1))
        proposals = []
        for boxes_, scores, size in zip(boxes.view_as(deltas), objectness, sizes, strict=True):
            clipped = clip_boxes_to_image(boxes_, size)
            kept = torch.where(has_area(clipped, SMALLEST_PROPOSAL) & (scores >= options.score_threshold))[0]
            best = batched_nms(clipped[kept], scores[kept], levels[kept], options.nms_iou)
            proposals.append(clipped[kept[best[:post_nms]]])
        return proposals

    def losses(
        self, scored: ScoredAnchors, objects: Sequence[Objects], sizes: Sequence[tuple[int, int]]
    ) -> dict[str, Tensor]:
        """Return the losses of a sample of anchors (Ren et al. 2015, equation 1).

        Args:
            scored: output of `forward`.
            objects: ground truth of each image.
            sizes: (height, width) of each image in pixels.

        Returns:
            `loss_rpn_objectness` (cross-entropy, mean over the sample) and `loss_rpn_box` (smooth L1, summed over
            the objects' coordinates, divided by the sample's size).
        """
        classes, references = self._assign(scored.anchors, objects, sizes)
        positive, negative = (torch.where(torch.cat(chosen))[0] for chosen in self.sampler(classes))
        sample = torch.cat([positive, negative])
        size = max(len(sample), 1)
        is_object = torch.cat(classes)[sample].float()
        objectness = functional.binary_cross_entropy_with_logits(
            scored.objectness.flatten()[sample], is_object, reduction="sum"
        )
        coding = self.box_coder.encode(
            torch.cat([one.boxes for one in objects])[torch.cat(references)[positive]],
            scored.anchors[positive % len(scored.anchors)],
        )
        box = functional.smooth_l1_loss(
            scored.deltas.flatten(0, 1)[positive], coding, beta=SMOOTH_L1_BETA, reduction="sum"
        )
        return {"loss_rpn_objectness": objectness / size, "loss_rpn_box": box / size}

    def _assign(
        self, anchors: Tensor, objects: Sequence[Objects], sizes: Sequence[tuple[int, int]]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Return per image 1, 0 or -1 for each anchor, and the index of its object over all images."""
        classes, references, before = [], [], 0
        assign_anchors = self._assign_inside if self.inside_only else self._assign_all
        for one, size in zip(objects, sizes, strict=True):
            kinds, matched = assign_anchors(anchors, one._replace(labels=torch.zeros_like(one.labels)), size)
            classes.append(kinds)
            references.append(matched + before)
            before += len(one.boxes)
        return classes, references

    def _assign_all(self, anchors: Tensor, objects: Objects, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        return assign(anchors, objects, self.matcher)

    def _assign_inside(self, anchors: Tensor, objects: Objects, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Return the same as `assign` for anchors inside an image of `size`, and -1 for the others."""
        height, width = size
        edges = anchors.new_tensor([width, height])
        inside = torch.where((anchors[:, :2] >= 0).all(dim=1) & (anchors[:, 2:] <= edges).all(dim=1))[0]
        if not len(inside):
            return self._assign_all(anchors, objects, size)
        kinds, matched = assign(anchors[inside], objects, self.matcher)
        ignored = kinds.new_full((len(anchors),), -1)
        return ignored.index_copy(0, inside, kinds), torch.zeros_like(ignored).index_copy(0, inside, matched)

    def _best_of_each_level(self, scored: ScoredAnchors, top_n: int) -> tuple[Tensor, Tensor]:
        """Return the indices [B, P] of the best anchors of each level, and the level [P] of each column."""
        chosen, counts, before = [], [], 0
        for objectness in scored.objectness.detach().split(scored.per_level, 1):
            counts.append(min(top_n, objectness.shape[1]))
            chosen.append(objectness.topk(counts[-1], dim=1).indices + before)
            before += objectness.shape[1]
        levels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
        return torch.cat(chosen, dim=1), levels.to(scored.objectness.device)
