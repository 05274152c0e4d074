"""Region proposal network (Ren et al. 2015, section 3.1): torchvision's parts, without its detours.

The numbers are those of `torchvision.models.detection.rpn`. What differs: boxes are decoded for the best anchors
only, regression targets computed for the sampled ones only, crowd regions are no background, and losses and
proposals are methods of their own, so that one forward pass can give both.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.detection._utils import BalancedPositiveNegativeSampler, BoxCoder
from torchvision.models.detection.rpn import RPNHead, concat_box_prediction_layers
from torchvision.ops import batched_nms, clip_boxes_to_image

from visionkit.models.detection.parts.anchors import Anchors
from visionkit.ops.boxes import has_area
from visionkit.ops.matching import BestMatcher, Objects, assign

SMALLEST_PROPOSAL = 1e-3
"""Side in pixels below which a clipped proposal is dropped (torchvision's `min_size`)."""

SMOOTH_L1_BETA = 1 / 9
"""Where smooth L1 turns from square to linear (torchvision, after Detectron's sigma = 3)."""


@dataclass
class ProposalOptions:
    """How many proposals are kept, and by what.

    Attributes:
        pre_nms: best anchors of each level and image that go into NMS.
        post_nms: proposals of each image that come out.
    """

    pre_nms: int
    post_nms: int


class ScoredAnchors(NamedTuple):
    """What the RPN says about a batch; A anchors over all levels.

    Attributes:
        anchors: float32 [A, 4], the same for each image.
        per_level: how many of them each level has.
        objectness: float32 [B, A], logits.
        deltas: float32 [B, A, 4], box coding relative to the anchors.
    """

    anchors: Tensor
    per_level: list[int]
    objectness: Tensor
    deltas: Tensor


class RegionProposalNetwork(nn.Module):
    """Scores anchors, learns to, and turns the best into proposals.

    Args:
        channels: of the feature maps.
        anchors: the anchor generator.
        training, testing: how many proposals to keep in the two cases.
        nms_iou: IoU above which the lower scored of two proposals of a level is dropped.
        foreground_iou: IoU from which an anchor is an object.
        background_iou: IoU below which it is none.
        batch_size: anchors of each image that enter the loss.
        positive_fraction: greatest share of objects among them.
        score_threshold: smallest objectness in 0..1 of a proposal.
        inside_only: whether anchors that cross the edge of their image teach nothing (Ren et al. 2015, section 3.3);
            where all of them do, as in an image smaller than any, all teach.
    """

    def __init__(
        self,
        channels: int,
        anchors: Anchors,
        training: ProposalOptions,
        testing: ProposalOptions,
        nms_iou: float,
        foreground_iou: float,
        background_iou: float,
        batch_size: int,
        positive_fraction: float,
        score_threshold: float,
        inside_only: bool = False,
    ) -> None:
        super().__init__()
        self.anchors = anchors
        self.head = RPNHead(channels, anchors.num_anchors_per_location()[0])
        self.for_training, self.for_testing = training, testing
        self.nms_iou, self.score_threshold, self.inside_only = nms_iou, score_threshold, inside_only
        self.matcher = BestMatcher(foreground_iou, background_iou)
        self.sampler = BalancedPositiveNegativeSampler(batch_size, positive_fraction)
        self.box_coder = BoxCoder(weights=(1.0, 1.0, 1.0, 1.0))

    def forward(self, maps: dict[str, Tensor], padded: tuple[int, int]) -> ScoredAnchors:
        """Score all anchors.

        Args:
            maps: one [B, channels, h, w] for each level.
            padded: height and width of the batch in pixels.
        """
        levels = list(maps.values())
        objectness, deltas = concat_box_prediction_layers(*self.head(levels))
        anchors, per_level = self.anchors.grid(padded, levels)
        images = len(levels[0])
        return ScoredAnchors(
            anchors, per_level, objectness.float().view(images, -1), deltas.float().view(images, -1, 4)
        )

    def propose(
        self, scored: ScoredAnchors, sizes: Sequence[tuple[int, int]], options: ProposalOptions
    ) -> list[Tensor]:
        """Turn the best anchors into proposals; no gradient flows through them.

        Args:
            scored: what `forward` returned.
            sizes: (height, width) of each image in pixels.
            options: how many.

        Returns:
            Per image float32 [P, 4], P <= post_nms, best first.
        """
        chosen, levels = self._best_of_each_level(scored, options.pre_nms)
        objectness = scored.objectness.detach().gather(1, chosen).sigmoid()
        deltas = scored.deltas.detach().gather(1, chosen[..., None].expand(-1, -1, 4))
        boxes = self.box_coder.decode_single(deltas.flatten(0, 1), scored.anchors[chosen].flatten(0, 1))
        proposals = []
        for boxes_, scores, size in zip(boxes.view_as(deltas), objectness, sizes, strict=True):
            clipped = clip_boxes_to_image(boxes_, size)
            kept = torch.where(has_area(clipped, SMALLEST_PROPOSAL) & (scores >= self.score_threshold))[0]
            best = batched_nms(clipped[kept], scores[kept], levels[kept], self.nms_iou)
            proposals.append(clipped[kept[best[: options.post_nms]]])
        return proposals

    def losses(
        self, scored: ScoredAnchors, objects: Sequence[Objects], sizes: Sequence[tuple[int, int]]
    ) -> dict[str, Tensor]:
        """Compare scores and coding with the objects on a sample of anchors (Ren et al. 2015, equation 1).

        Args:
            scored: what `forward` returned.
            objects: of each image.
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
        coding = self.box_coder.encode_single(
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
        """Per image, 1/0/-1 for each anchor and which object it is, counted over all images."""
        classes, references, before = [], [], 0
        assign_in_one = self._assign_inside if self.inside_only else self._assign_all
        for one, size in zip(objects, sizes, strict=True):
            kinds, matched = assign_in_one(anchors, one._replace(labels=torch.zeros_like(one.labels)), size)
            classes.append(kinds)
            references.append(matched + before)
            before += len(one.boxes)
        return classes, references

    def _assign_all(self, anchors: Tensor, objects: Objects, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        return assign(anchors, objects, self.matcher)

    def _assign_inside(self, anchors: Tensor, objects: Objects, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """As `assign`, for the anchors alone that lie in an image of `size`; the others teach nothing."""
        height, width = size
        edges = anchors.new_tensor([width, height])
        inside = torch.where((anchors[:, :2] >= 0).all(dim=1) & (anchors[:, 2:] <= edges).all(dim=1))[0]
        if not len(inside):
            return self._assign_all(anchors, objects, size)
        kinds, matched = assign(anchors[inside], objects, self.matcher)
        nothing = kinds.new_full((len(anchors),), -1)
        return nothing.index_copy(0, inside, kinds), torch.zeros_like(nothing).index_copy(0, inside, matched)

    def _best_of_each_level(self, scored: ScoredAnchors, most: int) -> tuple[Tensor, Tensor]:
        """Indices [B, P] of the best anchors and the level [P] of each place."""
        chosen, counts, before = [], [], 0
        for objectness in scored.objectness.detach().split(scored.per_level, 1):
            counts.append(min(most, objectness.shape[1]))
            chosen.append(objectness.topk(counts[-1], dim=1).indices + before)
            before += objectness.shape[1]
        levels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
        return torch.cat(chosen, dim=1), levels.to(scored.objectness.device)
