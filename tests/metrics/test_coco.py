"""COCO metrics against pycocotools, on its own example files and on random cases."""

import contextlib
import io
import json
import math

import numpy as np
import pytest
import torch
from pycocotools import mask as rle
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from tests.helpers.metric_cases import flat, random_case
from tests.helpers.real_data import real_data
from visionkit.errors import VisionkitError
from visionkit.metrics.coco import CocoAP, CocoMaskAP
from visionkit.metrics.coco_results import to_coco_results

TWELVE = ["AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"]
# Published with the files; the bbox and segm rows of val2014_fake_eval_res.txt to six digits.
EXPECTED = {
    "bbox": "0.504581 0.696973 0.572982 0.585626 0.519400 0.501398 "
    "0.386813 0.593680 0.595353 0.639811 0.566421 0.564291",
    "segm": "0.319545 0.562288 0.298927 0.387374 0.310183 0.326934 "
    "0.268230 0.415449 0.416839 0.469450 0.376759 0.381472",
}


def by_image(rows):
    grouped = {}
    for row in rows:
        grouped.setdefault(row["image_id"], []).append(row)
    return grouped


def corners(rows):
    boxes = np.array([row.get("bbox", [0, 0, 0, 0]) for row in rows], np.float64).reshape(-1, 4)
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)


@pytest.mark.parametrize("backend", ["hotcoco", "pycocotools"])
@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_the_twelve_numbers_of_the_coco_api_examples(kind, backend):
    folder = real_data("coco-eval")
    truth = json.loads((folder / "instances_val2014_100.json").read_text())
    detections = by_image(json.loads((folder / f"instances_val2014_fake{kind}100_results.json").read_text()))
    objects = by_image(truth["annotations"])
    ids = sorted(category["id"] for category in truth["categories"])
    label = {category: index for index, category in enumerate(ids)}
    metric = CocoAP([str(category) for category in ids], iou_type=kind, backend=backend)
    for image in truth["images"]:
        size = image["height"], image["width"]
        there, seen = objects.get(image["id"], []), detections.get(image["id"], [])
        target = {
            "image_id": image["id"],
            "size": size,
            "boxes": corners(there),
            "labels": [label[row["category_id"]] for row in there],
            "crowd": [row["iscrowd"] for row in there],
            "area": [row["area"] for row in there],
            "masks": [to_code(row["segmentation"], size) for row in there],
        }
        prediction = {
            "boxes": corners(seen),
            "scores": [row["score"] for row in seen],
            "labels": [label[row["category_id"]] for row in seen],
            "masks": [row.get("segmentation") for row in seen],
        }
        metric.update([prediction], [target])
    metrics = metric.compute()
    assert [metrics.overall[name] for name in TWELVE] == pytest.approx(
        [float(word) for word in EXPECTED[kind].split()], abs=1e-6
    )


def to_code(segmentation, size):
    if isinstance(segmentation, list):
        return rle.merge(rle.frPyObjects(segmentation, *size))
    return rle.frPyObjects(segmentation, *size)


def reference(predictions, targets, classes, limits):
    """pycocotools on dicts built here one by one, from the results format that was written."""
    annotations = [
        {
            "id": 0,
            "image_id": target["image_id"],
            "category_id": int(label) + 1,
            "bbox": [float(box[0]), float(box[1]), float(box[2]) - float(box[0]), float(box[3]) - float(box[1])],
            "area": float(area),
            "iscrowd": int(crowd),
        }
        for target in targets
        for box, label, crowd, area in zip(
            target["boxes"], target["labels"], target["crowd"], target["area"], strict=True
        )
    ]
    for number, annotation in enumerate(annotations, start=1):
        annotation["id"] = number
    named = [{**p, "image_id": t["image_id"]} for p, t in zip(predictions, targets, strict=True)]
    rows = json.loads(json.dumps(to_coco_results(named, list(range(1, classes + 1)))))
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "images": [{"id": t["image_id"], "height": 480, "width": 640} for t in targets],
            "categories": [{"id": k + 1, "name": str(k)} for k in range(classes)],
            "annotations": annotations,
        }
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(rows), "bbox")
        evaluation.params.maxDets = limits
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats


@pytest.mark.parametrize("seed", range(6))
def test_random_cases_with_crowds_ties_and_empty_images_equal_pycocotools(seed):
    predictions, targets = random_case(seed, classes=3)
    metric = CocoAP(["a", "b", "c"])
    for prediction, target in zip(predictions, targets, strict=True):
        metric.update([prediction], [target])
    metrics = metric.compute()
    expected = [math.nan if value == -1 else value for value in reference(predictions, targets, 3, [1, 10, 100])]
    assert [metrics.overall[name] for name in TWELVE] == pytest.approx(expected, abs=1e-9, nan_ok=True)


def perfect(count, image_id=1, label=0):
    boxes = torch.arange(count, dtype=torch.float32)[:, None] * 5 + torch.tensor([0.0, 0, 4, 4])
    labels = torch.full((count,), label)
    target = {"image_id": image_id, "size": (5000, 5000), "boxes": boxes, "labels": labels}
    return {"boxes": boxes, "scores": torch.ones(count), "labels": labels}, target


def scored(*pairs, **options):
    metric = CocoAP(["a", "b"], **options)
    for prediction, target in pairs:
        metric.update([prediction], [target])
    return metric.compute()


def test_any_detection_limit_gives_defined_metrics(caplog):
    assert scored(perfect(150), max_detections=(1, 10, 300)).overall["AP"] == pytest.approx(1.0)
    assert "AR300" in scored(perfect(3), max_detections=(300,)).overall


def test_more_objects_than_the_limit_log_a_warning(caplog, monkeypatch):
    import logging

    monkeypatch.setattr(logging.getLogger("visionkit"), "propagate", True)
    assert scored(perfect(150)).overall["AP"] < 0.7
    assert "raise max_detections" in caplog.text


def test_the_first_object_of_the_set_counts():
    assert scored(perfect(1)).overall["AP"] == pytest.approx(1.0)


def test_predictions_on_images_without_objects_are_false_positives():
    empty = {"image_id": 0, "size": (50, 50), "boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.long)}
    false = {"boxes": torch.tensor([[0.0, 0, 9, 9]]), "scores": torch.tensor([1.5]), "labels": torch.tensor([0])}
    assert scored(perfect(1), (false, empty)).overall["AP"] == pytest.approx(0.5, abs=0.01)


def test_undefined_metrics_are_nan():
    metrics = scored(perfect(1))
    assert math.isnan(metrics.overall["APl"])
    assert math.isnan(metrics.per_class["AP"]["b"])
    assert math.isnan(CocoAP(["a"]).compute().overall["AP"])


def test_objects_without_any_prediction_score_zero():
    prediction, target = perfect(2)
    nothing = {name: value[:0] for name, value in prediction.items()}
    assert scored((nothing, target)).overall["AP"] == 0


def test_an_image_that_is_added_twice_counts_once():
    assert flat(scored(perfect(2), perfect(2))) == pytest.approx(flat(scored(perfect(2))), nan_ok=True)


def test_a_detection_of_a_difficult_object_is_ignored():
    prediction, target = perfect(3)
    hard = {**target, "difficult": torch.tensor([False, True, False])}
    prediction = {**prediction, "scores": torch.tensor([0.8, 0.9, 0.7])}
    easy = {name: value[[0, 2]] for name, value in prediction.items()}
    assert scored((prediction, hard)).overall["AP"] == pytest.approx(1.0)
    assert scored((easy, hard)).overall["AP"] == pytest.approx(1.0)


def test_objects_of_two_classes_within_the_limit_need_no_warning(caplog):
    (first, objects), (second, others) = perfect(80), perfect(80, label=1)
    both = {name: torch.cat([first[name], second[name]]) for name in first}
    there = {**objects, **{name: torch.cat([objects[name], others[name]]) for name in ("boxes", "labels")}}
    assert scored((both, there)).overall["AP"] == pytest.approx(1.0)
    assert not caplog.records


def test_missing_masks_raise():
    prediction, target = perfect(1)
    with pytest.raises(VisionkitError, match="a target has none"):
        scored((prediction, target), iou_type="segm")


def test_mask_scores_of_images_without_predictions():
    code = rle.encode(np.asfortranarray(np.eye(50, dtype=np.uint8)))
    prediction, target = perfect(1)
    nothing = {name: value[:0] for name, value in prediction.items()}
    there = {**target, "size": (50, 50), "masks": [code], "area": torch.tensor([50.0])}
    assert scored(({**nothing, "masks": []}, there), iou_type="segm").overall["AP"] == 0
    assert scored(({**prediction, "masks": [code]}, there), iou_type="segm").overall["AP"] == pytest.approx(1.0)


def test_nan_scores_raise():
    prediction, target = perfect(1)
    with pytest.raises(VisionkitError, match="NaN"):
        scored(({**prediction, "scores": torch.tensor([float("nan")])}, target))


def test_low_precision_predictions_are_accepted():
    prediction, target = perfect(1)
    half = {name: value.bfloat16() if value.is_floating_point() else value for name, value in prediction.items()}
    assert scored((half, target)).overall["AP"] == pytest.approx(1.0)


def test_masks_and_boxes_are_both_scored():
    """The box is correct, the mask is elsewhere."""
    size, box = (20, 20), torch.tensor([[2.0, 2, 10, 10]])
    plane = np.zeros((*size, 2), np.uint8, order="F")
    plane[2:10, 2:10, 0] = 1
    plane[10:18, 10:18, 1] = 1
    right, wrong = rle.encode(plane)
    there = {"image_id": 1, "boxes": box, "labels": torch.tensor([0]), "masks": [right], "size": size}
    metric = CocoMaskAP(["a"])
    metric.update([{"boxes": box, "scores": torch.ones(1), "labels": torch.tensor([0]), "masks": [wrong]}], [there])
    metrics = metric.compute()
    assert (metrics.overall["AP"], metrics.overall["mask_AP"]) == (pytest.approx(1.0), 0.0)
    assert metrics.per_class["mask_AP"]["a"] == 0.0
