"""COCO's results format: written and read back."""

import json

import numpy as np
import pytest
import torch
from pycocotools import mask as rle

from tests.helpers.real_data import real_data
from visionkit.errors import DataError
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
