"""COCO's metrics under the names of torchmetrics' `MeanAveragePrecision`."""

import math

import torch
from torch import Tensor

from visionkit.metrics.results import MetricResults

SIZES = {"s": "small", "m": "medium", "l": "large"}
UNDEFINED = -1.0
"""torchmetrics' value for a metric without objects."""

OBSERVED, PER_CLASS = "observed_classes", "_per_class"
"""Name of the extra with the classes that occur, and suffix of those with a value of each class."""


def to_torchmetrics(results: MetricResults) -> dict[str, Tensor]:
    """Return the results of `CocoAP` or `CocoMaskAP` as torchmetrics names and types them.

    The numbers are those of pycocotools. torchmetrics rounds its recall and IoU thresholds to float32, so that its own
    numbers are lower by up to 0.003 for small sets of images.

    Args:
        results: what `compute` returns.

    Returns:
        `map`, `map_50`, `map_75`, `map_small`, ..., `mar_1`, ..., `map_per_class`, `mar_100_per_class` as float32
        tensors; -1 for a metric that is not defined. `classes` int32 are the labels of the classes with objects or
        predictions, of which the metrics per class are; they are those of `class_metrics=True`. Results of masks and
        boxes have `segm_` and `bbox_` in front, as with two IoU types there.

    Example:
        >>> from visionkit.metrics import to_torchmetrics
        >>> from visionkit.metrics.results import MetricResults
        >>> results = MetricResults({"AP": 0.5, "AP50": 0.75, "ARs": float("nan")})
        >>> {name: value.item() for name, value in to_torchmetrics(results).items()}
        {'map': 0.5, 'map_50': 0.75, 'mar_small': -1.0}
    """
    masks = results.part("mask_")
    if not masks.overall:
        return _overall(results) | _per_class(results) | _classes(results)
    boxes, of_masks = (_overall(part) | _per_class(part) for part in (results, masks))
    return {
        **{f"bbox_{name}": value for name, value in boxes.items()},
        **{f"segm_{name}": value for name, value in of_masks.items()},
        **_classes(results),
    }


def _overall(results: MetricResults) -> dict[str, Tensor]:
    return {name: _tensor(value) for key, value in results.overall.items() if (name := _name(key))}


def _per_class(results: MetricResults) -> dict[str, Tensor]:
    """Return the metrics of the classes that occur, AP and the AR with the most detections; none if it is not known."""
    if OBSERVED not in results.extras:
        return {}
    recalls = {key: values for key, values in results.extras.items() if key.endswith(PER_CLASS)}
    columns = {f"AP{PER_CLASS}": results.per_class["AP"], **recalls}
    found = {}
    for key, values in columns.items():
        if name := _name(key.removesuffix(PER_CLASS)):  # of a metric of masks beside boxes, there is none
            of_classes = [_tensor(values[of]).item() for of in results.extras[OBSERVED]]
            found[f"{name}{PER_CLASS}"] = _values(of_classes, torch.float32)
    return found


def _classes(results: MetricResults) -> dict[str, Tensor]:
    if OBSERVED not in results.extras:
        return {}
    labels = {name: label for label, name in enumerate(results.per_class["AP"])}
    return {"classes": _values([labels[name] for name in results.extras[OBSERVED]], torch.int32)}


def _values(values: list[float], dtype: torch.dtype) -> Tensor:
    """Return a tensor [K]; one without dimensions for a single class, as every metric of torchmetrics does."""
    return torch.tensor(values, dtype=dtype).squeeze()


def _name(name: str) -> str | None:
    """Return torchmetrics' name of a metric; None if it has none."""
    kind, rest = name[:2], name[2:]
    if kind not in ("AP", "AR") or not (rest in ("", *SIZES) or rest.isdecimal()):
        return None
    return f"m{kind.lower()}" + (f"_{SIZES.get(rest, rest)}" if rest else "")


def _tensor(value: float | None) -> Tensor:
    return torch.tensor(UNDEFINED if value is None or math.isnan(value) else value)
