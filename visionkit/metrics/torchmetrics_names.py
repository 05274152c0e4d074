"""COCO's metrics under the names of torchmetrics' `MeanAveragePrecision`."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from visionkit.metrics.results import MetricResults

SIZES = {"s": "small", "m": "medium", "l": "large"}
UNDEFINED = -1.0
"""torchmetrics' value for a metric without objects."""


def to_torchmetrics(results: MetricResults) -> dict[str, Tensor]:
    """Return the results of `CocoAP` or `CocoMaskAP` as torchmetrics names and types them.

    The numbers are those of pycocotools. torchmetrics rounds its recall and IoU thresholds to float32, so that its own
    numbers are lower by up to 0.003 for small sets of images.

    Args:
        results: what `compute` returns.

    Returns:
        `map`, `map_50`, `map_75`, `map_small`, ..., `mar_1`, ..., `map_per_class` as float32 tensors; -1 for a metric
        that is not defined. Results of masks and boxes have `segm_` and `bbox_` in front, as with two IoU types there.

    Example:
        >>> from visionkit.metrics import to_torchmetrics
        >>> from visionkit.metrics.results import MetricResults
        >>> results = MetricResults({"AP": 0.5, "AP50": 0.75, "ARs": float("nan")}, {"AP": {"cat": 0.5}})
        >>> {name: value.item() for name, value in to_torchmetrics(results).items()}
        {'map': 0.5, 'map_50': 0.75, 'mar_small': -1.0, 'map_per_class': 0.5}
    """
    masks = results.part("mask_")
    if not masks.overall:
        return _named(results.overall, results.per_class)
    boxes = {name: value for name, value in results.overall.items() if not name.startswith("mask_")}
    of_boxes = _named(boxes, results.per_class)
    of_masks = _named(masks.overall, masks.per_class)
    return {
        **{f"bbox_{name}": value for name, value in of_boxes.items()},
        **{f"segm_{name}": value for name, value in of_masks.items()},
    }


def _named(overall: Mapping[str, float], per_class: Mapping[str, Mapping[str, float]]) -> dict[str, Tensor]:
    found = {name: _tensor(value) for key, value in overall.items() if (name := _name(key))}
    if "AP" in per_class:
        found["map_per_class"] = torch.stack([_tensor(value) for value in per_class["AP"].values()]).squeeze()
    return found


def _name(name: str) -> str | None:
    """Return torchmetrics' name of a metric; None if it has none."""
    kind, rest = name[:2], name[2:]
    if kind not in ("AP", "AR") or not (rest in ("", *SIZES) or rest.isdecimal()):
        return None
    return f"m{kind.lower()}" + (f"_{SIZES.get(rest, rest)}" if rest else "")


def _tensor(value: float) -> Tensor:
    return torch.tensor(UNDEFINED if math.isnan(value) else value)
