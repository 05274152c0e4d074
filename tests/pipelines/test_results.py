import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.helpers.small_classifier import small_classification
from tests.helpers.small_detector import small_task
from tests.helpers.small_segmenter import small_segmentation
from visionkit.pipelines.base import pipelines
from visionkit.pipelines.results import ClassificationResult, SegmentationResult
from visionkit.tasks import tasks

NAMES = ["ant", "bee", "cat"]


def classes(*scores, source=None):
    return small_classification(NAMES).pipeline.result(torch.tensor(scores), source)


def segments(mask, source=None, colors=None):
    return small_segmentation(NAMES, class_colors=colors).pipeline.result(mask, source)


def test_every_task_has_a_pipeline():
    assert set(pipelines) == set(tasks)


def test_classes_come_best_first():
    found = classes(0.2, 0.7, 0.1)
    assert isinstance(found, ClassificationResult)
    assert found.names == ["bee", "ant", "cat"]
    assert found.labels.tolist() == [1, 0, 2]
    assert found.scores.tolist() == pytest.approx([0.7, 0.2, 0.1])
    assert len(found) == 3


def test_equal_scores_keep_the_order_of_the_classes():
    assert classes(0.25, 0.5, 0.25).names == ["bee", "ant", "cat"]


@pytest.mark.parametrize(("threshold", "names"), [(0, ["bee", "ant", "cat"]), (0.2, ["bee", "ant"]), (0.9, [])])
def test_a_threshold_keeps_scores_labels_and_names_together(threshold, names):
    kept = classes(0.25, 0.7, 0.05).filter(threshold)
    assert kept.names == names
    assert [NAMES[label] for label in kept.labels] == names
    assert len(kept.scores) == len(kept) == len(names)


def test_each_class_may_have_a_threshold_of_its_own():
    kept = classes(0.25, 0.7, 0.05).filter([0.25, 0.75, 0.0])
    assert kept.names == ["ant", "cat"]
    assert kept.scores.tolist() == pytest.approx([0.25, 0.05])
    assert segments(MASK, colors=COLORS).filter([0.0, 0.0, 0.9]).names == ["ant"]


def test_json_holds_the_same():
    found = classes(0.25, 0.5, 0.25, source=Path("a.png"))
    plain = json.loads(json.dumps(found.filter(0.3).to_dict()))
    assert plain == {"image": "a.png", "classes": [{"name": "bee", "score": 0.5}]}


def test_half_precision_becomes_single():
    assert classes(0.5, 0.25, 0.25).scores.dtype == "float32"
    halves = small_classification(NAMES).pipeline.result(torch.tensor([0.5, 0.25, 0.25]).bfloat16())
    assert halves.scores.dtype == "float32"


MASK = torch.tensor([[2, 2, 0], [2, 0, 2]], dtype=torch.uint8)
COLORS = [[1, 2, 3], [4, 5, 6], [7, 8, 9]]


def test_classes_of_pixels_come_the_largest_first():
    found = segments(MASK, Path("a.png"), COLORS)
    assert isinstance(found, SegmentationResult)
    assert found.names == ["cat", "ant"], "no pixel is a bee"
    assert found.labels.tolist() == [2, 0]
    assert found.shares.tolist() == pytest.approx([4 / 6, 2 / 6])
    assert found.shares.dtype == "float32"
    plain = json.loads(json.dumps(found.to_dict()))
    assert plain == {"image": "a.png", "shares": pytest.approx({"cat": 4 / 6, "ant": 2 / 6})}
    large = found.filter(0.5)
    assert (len(found), len(large), large.names) == (2, 1, ["cat"])
    assert (large.mask == MASK.numpy()).all()


@pytest.mark.parametrize("colors", [COLORS, None])
def test_a_mask_is_an_image_of_indices_with_the_classes_colors(colors, tmp_path):
    found = segments(MASK, colors=colors)
    (kind, image), *_ = found.images().items()
    image.save(tmp_path / "mask.png")
    read = Image.open(tmp_path / "mask.png")
    assert (kind, read.mode) == ("masks", "P")
    assert (np.asarray(read) == MASK.numpy()).all()
    palette = np.array(read.getpalette()[:9]).reshape(3, 3)
    assert (np.asarray(read.convert("RGB")) == palette[MASK.numpy()]).all()
    assert palette.tolist() == COLORS if colors else len(np.unique(palette, axis=0)) == 3


def test_other_results_are_not_images():
    assert classes(0.2, 0.7, 0.1).images() == {}


def test_masks_stay_with_their_boxes():
    codes = [{"size": [4, 4], "counts": b"abc"}, {"size": [4, 4], "counts": b"de"}]
    prediction = {"boxes": torch.rand(2, 4), "scores": torch.tensor([0.9, 0.3]), "labels": torch.tensor([2, 0])}
    found = small_task(NAMES).pipeline.result({**prediction, "masks": codes})
    kept = found.filter(0.5)
    assert kept.masks == codes[:1]
    plain = json.loads(json.dumps(found.to_dict()))["detections"]
    assert [row["mask"]["counts"] for row in plain] == ["abc", "de"]


def test_a_table_has_a_row_per_prediction():
    pandas = pytest.importorskip("pandas")
    table = classes(0.25, 0.5, 0.25, source=Path("a.png")).to_pandas()
    assert isinstance(table, pandas.DataFrame)
    assert table["image"].tolist() == ["a.png"] * 3
    assert table["name"].tolist() == ["bee", "ant", "cat"]
    prediction = {"boxes": torch.tensor([[1.0, 2, 3, 4]]), "scores": torch.tensor([0.9]), "labels": torch.tensor([2])}
    (row,) = small_task(NAMES).pipeline.result(prediction).to_pandas().to_dict("records")
    assert (row["name"], row["x1"], row["y2"]) == ("cat", 1.0, 4.0)
