import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from visionkit.pipelines.results import ClassificationResult, SegmentationResult, result_types
from visionkit.tasks import tasks

NAMES = ["ant", "bee", "cat"]


def classes(*scores, source=None):
    return result_types.get("classification")(source, torch.tensor(scores), NAMES)


def test_every_task_has_an_outcome():
    assert set(result_types) == set(tasks)


def test_classes_come_the_surest_first():
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


def test_json_says_the_same():
    found = classes(0.25, 0.5, 0.25, source=Path("a.png"))
    said = json.loads(json.dumps(found.filter(0.3).to_dict()))
    assert said == {"image": "a.png", "classes": [{"score": 0.5, "name": "bee"}]}


def test_half_precision_becomes_single():
    assert classes(0.5, 0.25, 0.25).scores.dtype == "float32"
    halves = result_types.get("classification")(None, torch.tensor([0.5, 0.25, 0.25]).bfloat16(), NAMES)
    assert halves.scores.dtype == "float32"


MASK = torch.tensor([[2, 2, 0], [2, 0, 2]], dtype=torch.uint8)
COLORS = [[1, 2, 3], [4, 5, 6], [7, 8, 9]]


def test_classes_of_pixels_come_the_largest_first():
    found = result_types.get("segmentation")(Path("a.png"), MASK, NAMES, COLORS)
    assert isinstance(found, SegmentationResult)
    assert found.names == ["cat", "ant"], "no pixel is a bee"
    assert found.labels.tolist() == [2, 0]
    assert found.shares.tolist() == pytest.approx([4 / 6, 2 / 6])
    assert found.shares.dtype == "float32"
    said = json.loads(json.dumps(found.to_dict()))
    assert said == {"image": "a.png", "shares": pytest.approx({"cat": 4 / 6, "ant": 2 / 6})}
    large = found.filter(0.5)
    assert (len(found), len(large), large.names) == (2, 1, ["cat"])
    assert (large.mask == MASK.numpy()).all()


@pytest.mark.parametrize("colors", [COLORS, None])
def test_a_mask_is_a_image_of_indices_with_the_classes_colors(colors, tmp_path):
    found = result_types.get("segmentation")(None, MASK, NAMES, colors)
    (kind, image), *_ = found.images().items()
    image.save(tmp_path / "mask.png")
    read = Image.open(tmp_path / "mask.png")
    assert (kind, read.mode) == ("masks", "P")
    assert (np.asarray(read) == MASK.numpy()).all()
    palette = np.array(read.getpalette()[:9]).reshape(3, 3)
    assert (np.asarray(read.convert("RGB")) == palette[MASK.numpy()]).all()
    assert palette.tolist() == COLORS if colors else len(np.unique(palette, axis=0)) == 3


def test_other_outcomes_are_no_images():
    assert classes(0.2, 0.7, 0.1).images() == {}


def test_masks_stay_with_their_boxes():
    codes = [{"size": [4, 4], "counts": b"abc"}, {"size": [4, 4], "counts": b"de"}]
    prediction = {"boxes": torch.rand(2, 4), "scores": torch.tensor([0.9, 0.3]), "labels": torch.tensor([2, 0])}
    found = result_types.get("detection")(None, {**prediction, "masks": codes}, NAMES)
    kept = found.filter(0.5)
    assert kept.masks == codes[:1]
    said = json.loads(json.dumps(found.to_dict()))["detections"]
    assert [row["mask"]["counts"] for row in said] == ["abc", "de"]
