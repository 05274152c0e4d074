"""A backbone with a classifier head: one class, or any number of them, for a picture."""

from typing import ClassVar

from torch import Tensor, nn

from visionkit.backbones.contract import Backbone
from visionkit.errors import RecipeError
from visionkit.models.classification.heads import heads
from visionkit.models.registry import models


@models.register("classifier")
class Classifier(nn.Module):
    """Classification network: a head on the backbone's deepest map.

    Args:
        backbone: any; only its deepest stage is used.
        num_classes: K.
        head: name of the head; auto takes the one that the backbone was published with.
        dropout: share of values that the head drops in training; None is the published one.

    Attributes:
        spec: primitives from which `create_model` builds the same structure.

    Raises:
        RecipeError: unknown head, or arguments that contradict each other.
    """

    task: ClassVar[str] = "classification"

    def __init__(
        self, backbone: Backbone, num_classes: int, *, head: str = "auto", dropout: float | None = None
    ) -> None:
        super().__init__()
        if num_classes < 1:
            raise RecipeError(f"num_classes={num_classes}: a classifier needs at least one class")
        self.num_classes = num_classes
        self.backbone = backbone
        self.head = heads.get(backbone.usual_head if head == "auto" else head)(backbone, num_classes, dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Classify.

        Args:
            x: [B, 3, H, W], normalised with the backbone's `mean` and `std`.

        Returns:
            Logits [B, K].
        """
        return self.head(self._deepest(x))

    def logits_of_all_heads(self, x: Tensor) -> list[tuple[float, Tensor]]:
        """Logits of the main head and, in training, of auxiliary ones, each with the weight of its loss.

        Args:
            x: as of `forward`.

        Returns:
            Weight and logits [B, K] for each head, the main one with weight 1 first.
        """
        return [(1.0, self(x))]

    def dense(self, x: Tensor) -> Tensor:
        """Classify at every place of larger pictures.

        Args:
            x: [B, 3, H, W], at least as large as the network's native size.

        Returns:
            Logits [B, K, h', w'], see `Head.dense`.
        """
        return self.head.dense(self._deepest(x))

    def _deepest(self, x: Tensor) -> Tensor:
        return list(self.backbone(x).values())[-1]
