"""COCO's results format: written and read back."""

import json

import numpy as np
import pytest
import torch
from pycocotools import mask as rle
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from tests.helpers.real_data import real_data
from visionkit.errors import DataError
from visionkit.metrics.coco import CocoMaskAP
from visionkit.metrics.coco_results import from_coco_results, to_coco_mask_results, to_coco_results

IDS = [90, 3, 17]


def prediction(image_id, count, masks=False):
    torch.manual_seed(count)
    corner = torch.rand(count, 2) * 300
    detections = {
        "image_id": image_id,
        "boxes": torch.cat([corner, corner + torch.rand(count, 2) * 90 + 1], dim=1),
        "scores": torch.rand(count).sort(descending=True).values,
        "labels": torch.randint(0, len(IDS), (count,)),
    }
    image = np.zeros((20, 30), np.uint8, order="F")
    image[3:9, 4:12] = 1
    return {**detections, "masks": [rle.encode(image)] * count} if masks else detections


def test_a_row_by_hand():
    detections = {
        "image_id": "cat",
        "boxes": torch.tensor([[1.0, 2, 4, 8]]),
        "scores": torch.tensor([0.5]),
        "labels": [1],
    }
    expected = {"image_id": "cat", "category_id": 3, "bbox": [1.0, 2.0, 3.0, 6.0], "score": 0.5}
    assert to_coco_results([detections], IDS) == [expected]


@pytest.mark.parametrize("to_rows", [to_coco_results, to_coco_mask_results])
def test_written_and_read_back_through_json(to_rows):
    written = [prediction(7, 5, masks=True), prediction("b", 3, masks=True)]
    rows = json.loads(json.dumps(to_rows(written, IDS)))
    assert all(("bbox" in row) != ("segmentation" in row) for row in rows)
    for before, after in zip(written, from_coco_results(rows, IDS), strict=True):
        assert after["image_id"] == before["image_id"]
        torch.testing.assert_close(after["scores"], before["scores"], rtol=0, atol=0)
        assert after["labels"].tolist() == before["labels"].tolist()
        if to_rows is to_coco_results:
            torch.testing.assert_close(after["boxes"], before["boxes"], rtol=0, atol=0)
        else:
            assert [rle.area(code) for code in after["masks"]] == [48] * len(before["masks"])


def test_boxes_of_rows_in_any_order_are_sorted_by_score():
    rows = to_coco_results([prediction(1, 6)], IDS)[::-1]
    scores = from_coco_results(rows, IDS)[0]["scores"].tolist()
    assert scores == sorted(scores, reverse=True)


def test_an_unknown_category_is_named():
    rows = [{"image_id": 1, "category_id": 4, "bbox": [0, 0, 1, 1], "score": 0.5}]
    with pytest.raises(DataError, match="category id 4"):
        from_coco_results(rows, IDS)


def test_the_coco_api_mask_results_which_have_no_boxes():
    rows = json.loads((real_data("coco-eval") / "instances_val2014_fakesegm100_results.json").read_text())
    ids = sorted({row["category_id"] for row in rows})
    read = from_coco_results(rows, ids)
    assert len(read) == 99
    assert sum(len(detections["masks"]) for detections in read) == len(rows)
    assert to_coco_results(read, ids)[0]["bbox"] == pytest.approx(rle.toBbox(read[0]["masks"][0]).tolist())


def test_pycocotools_sorts_written_masks_by_their_own_area():
    """A thin diagonal is a small object in a large box: with `bbox` in its row it would be scored as a large one."""
    thin = np.asfortranarray(np.eye(200, dtype=np.uint8))
    code = rle.encode(thin)
    detection = {
        "boxes": torch.tensor([[0.0, 0, 200, 200]]),
        "scores": torch.tensor([0.5]),
        "labels": torch.tensor([0]),
        "masks": [code],
    }
    target = {**detection, "image_id": 1, "size": (200, 200), "area": torch.tensor([200.0])}
    metric = CocoMaskAP(["thin"])
    wrong = {**detection, "masks": [rle.encode(np.asfortranarray(thin[::-1]))], "scores": torch.tensor([0.9])}
    both = {key: torch.cat([wrong[key], detection[key]]) for key in ("boxes", "scores", "labels")}
    both["masks"] = wrong["masks"] + detection["masks"]
    metric.update([both], [target])
    truth = COCO()
    text = {"size": [200, 200], "counts": code["counts"].decode()}
    truth.dataset = {
        "info": {},
        "images": [{"id": 1, "height": 200, "width": 200}],
        "categories": [{"id": 1, "name": "thin"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "iscrowd": 0, "area": 200.0, "bbox": [0, 0, 200, 200]}
            | {"segmentation": text}
        ],
    }
    truth.createIndex()
    for prefix, kind, to_rows in (("mask_", "segm", to_coco_mask_results), ("", "bbox", to_coco_results)):
        rows = json.loads(json.dumps(to_rows([{**both, "image_id": 1}], [1])))
        evaluation = COCOeval(truth, truth.loadRes(rows), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
        names = [f"{prefix}{name}" for name in ("AP", "AP50", "AP75", "APs", "APm", "APl")]
        ours = np.nan_to_num([metric.compute().overall[name] for name in names], nan=-1)
        assert ours.tolist() == pytest.approx(evaluation.stats[:6].tolist())
    assert metric.compute().overall["mask_APs"] == pytest.approx(0.5, abs=0.01)
