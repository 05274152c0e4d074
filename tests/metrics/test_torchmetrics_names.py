"""CocoAP with the dicts of torchmetrics, against its MeanAveragePrecision."""

import numpy as np
import pytest
import torch
from torchmetrics.detection import MeanAveragePrecision

import visionkit as vk
from tests.helpers.metric_cases import random_case
from visionkit.metrics import to_torchmetrics

CLASSES = 3


def dicts(seed, masks=False):
    """Predictions and targets as torchmetrics takes them."""
    predictions, targets = random_case(seed, CLASSES, images=6)
    if masks:  # torchmetrics 1.9 leaves out images whose masks are empty, and with them their false positives
        pairs = zip(predictions, targets, strict=True)
        pairs = [pair for pair in pairs if all(len(image["boxes"]) for image in pair)]
        predictions, targets = map(list, zip(*pairs, strict=True))
    for image in (*predictions, *targets):
        image["boxes"] = image["boxes"].float()
        if masks:
            planes = torch.zeros(len(image["boxes"]), 600, 600, dtype=torch.bool)
            for plane, (left, top, right, bottom) in zip(
                planes, image["boxes"].round().int().clip(0).tolist(), strict=True
            ):
                plane[top : max(bottom, top + 1), left : max(right, left + 1)] = True
            image["masks"] = planes
    kept = ("boxes", "labels", *(["masks"] if masks else []))
    return predictions, [{**{key: target[key] for key in kept}, "iscrowd": target["crowd"].int()} for target in targets]


def reference(kind):
    """torchmetrics with COCO's thresholds; its own are rounded to float32, so that equal recalls are missed."""
    recalls, overlaps = np.linspace(0, 1, 101).tolist(), np.linspace(0.5, 0.95, 10).tolist()
    options = {"rec_thresholds": recalls, "iou_thresholds": overlaps, "class_metrics": True}
    return MeanAveragePrecision(iou_type=kind, backend="pycocotools", **options)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_numbers_and_names_are_those_of_torchmetrics(seed, kind):
    predictions, targets = dicts(seed, masks=kind == "segm")
    theirs = reference(kind)
    metric = vk.metrics.CocoAP([str(label) for label in range(CLASSES)], iou_type=kind)
    for part in (slice(0, 4), slice(4, 6)):
        theirs.update(predictions[part], targets[part])
        metric.update(predictions[part], targets[part])
    expected, found = theirs.compute(), to_torchmetrics(metric.compute())
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, msg=lambda text, name=name: f"{name}: {text}")


def test_masks_alone_are_enough():
    predictions, targets = dicts(1, masks=True)
    metric = vk.metrics.CocoAP([str(label) for label in range(CLASSES)], iou_type="segm")
    without = [{key: value for key, value in image.items() if key != "boxes"} for image in targets]
    metric.update([{key: value for key, value in image.items() if key != "boxes"} for image in predictions], without)
    expected = vk.metrics.CocoAP([str(label) for label in range(CLASSES)], iou_type="segm")
    expected.update(predictions, targets)
    assert metric.compute().overall == pytest.approx(expected.compute().overall, nan_ok=True)


def test_boxes_and_masks_get_prefixes():
    predictions, targets = dicts(2, masks=True)
    metric = vk.metrics.CocoMaskAP([str(label) for label in range(CLASSES)])
    metric.update(predictions, targets)
    results = metric.compute()
    found = to_torchmetrics(results)
    assert found["segm_map"].item() == pytest.approx(results.overall["mask_AP"])
    assert found["bbox_map_50"].item() == pytest.approx(results.overall["AP50"])
    theirs = reference(("bbox", "segm"))
    theirs.update(predictions, targets)
    assert found.keys() == theirs.compute().keys()
    torch.testing.assert_close(found["segm_mar_100_per_class"], theirs.compute()["segm_mar_100_per_class"])


@pytest.mark.parametrize("seen", [([0, 2], [4]), ([4], [4]), ([3], [])])
def test_classes_are_those_of_objects_and_predictions(seen):
    """Class 1 does not occur, class 4 has no object or one, and class 2 is never found."""
    true, predicted = (torch.tensor(labels) for labels in seen)
    truth = {"boxes": torch.tensor([[0.0, 0, 40, 40], [50, 0, 90, 40]])[: len(true)], "labels": true}
    found = {"boxes": torch.tensor([[0.0, 0, 38, 40]])[: len(predicted)], "labels": predicted}
    found["scores"] = torch.full((len(predicted),), 0.5)
    theirs, metric = reference("bbox"), vk.metrics.CocoAP(list("abcdef"))
    theirs.update([found], [truth])
    metric.update([found], [truth])
    expected, own = theirs.compute(), to_torchmetrics(metric.compute())
    assert own.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(own[name], value, msg=lambda text, name=name: f"{name}: {text}")


def test_images_without_an_id_all_count_and_a_reset_starts_anew():
    metric = vk.metrics.CocoAP(["cat"])
    image = {"boxes": torch.tensor([[0.0, 0, 9, 9]]), "labels": torch.tensor([0])}
    for _ in range(3):
        metric.update([{**image, "scores": torch.tensor([0.5])}], [image])
    assert len(metric.image_ids) == 3
    metric.reset()
    assert metric.image_ids == []


def test_public_names():
    for name in vk.metrics.__all__:
        assert getattr(vk.metrics, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'cocoap'"):
        vk.metrics.cocoap  # noqa: B018
    assert np.isnan(vk.metrics.CocoAP(["cat"]).compute().overall["AP"])
