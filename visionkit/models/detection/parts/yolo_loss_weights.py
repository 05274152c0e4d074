"""Weights of the terms of YOLO's loss."""

from dataclasses import asdict, dataclass

from visionkit.option_checks import check_at_least


@dataclass(frozen=True)
class YOLOLossWeights:
    """Weights of the terms of YOLO's loss, with the names of the papers.

    Attributes:
        coord: of the boxes of objects.
        object: of the confidence (objectness) of boxes that are responsible for an object.
        noobject: of the confidence (objectness) of the other boxes.
        classes: of the classes of objects.

    Raises:
        ConfigError: a weight is below 0.

    Example:
        >>> import visionkit as vk
        >>> vk.YOLOLossWeights(coord=5.0, noobject=0.5)
        YOLOLossWeights(coord=5.0, object=1.0, noobject=0.5, classes=1.0)
    """

    coord: float = 1.0
    object: float = 1.0
    noobject: float = 1.0
    classes: float = 1.0

    def __post_init__(self) -> None:
        check_at_least(0, **asdict(self))
