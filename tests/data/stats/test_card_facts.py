"""Facts of a training split, from which `visionkit fit` makes a recipe."""

import numpy as np
import pytest

from tests.helpers.flat_images import Flat
from visionkit.data.datamodule import VisionData
from visionkit.data.datasets.shapes import Shapes
from visionkit.data.stats import card_facts
from visionkit.data.stats.card_facts import mask_thickness, read_card_facts, task_of
from visionkit.errors import DataError


def data(**splits):
    return VisionData.from_datasets(**splits)


@pytest.mark.parametrize(
    ("reader", "task"),
    [
        (Flat([0, 1]), "classification"),
        (Flat([None, None], masks=[0, 1]), "segmentation"),
        (Shapes(count=2, size=32, empty_share=0.0), "detection"),
    ],
)
def test_task_of_a_card(reader, task):
    assert task_of(reader) == task
    assert read_card_facts(data(train=reader).splits).task == task


def test_facts_of_labeled_images():
    facts = read_card_facts(data(train=Flat([0, 1, 1]), val=Flat([0])).splits)
    assert (facts.images, facts.validation_images, facts.class_names) == (3, 1, ["a", "b"])
    assert facts.examples.tolist() == [1, 2]
    assert (facts.median_size, facts.short_side) == ((20, 30), 20)
    assert not facts.has_masks
    assert not facts.multi_label
    assert len(facts.shapes) == 0


def test_examples_of_masks_are_pixels():
    assert read_card_facts(data(train=Flat([None] * 2, masks=[1, 255])).splits).examples.tolist() == [0, 600]


def test_examples_and_shapes_of_objects():
    reader = Shapes(count=5, size=50, empty_share=0.0)
    facts = read_card_facts(data(train=reader).splits)
    boxes = np.concatenate([reader.annotation(index).boxes for index in range(5)])
    np.testing.assert_allclose(facts.shapes, (boxes[:, 2:] - boxes[:, :2]) / 50)
    assert facts.examples.sum() == len(boxes)


def test_another_task_can_be_asked_for():
    facts = read_card_facts(data(train=Shapes(count=4, size=32)).splits, task="classification")
    assert facts.task == "classification"
    assert facts.examples.sum() == 4, "the class of each image"


def test_of_many_images_some_are_read(monkeypatch):
    monkeypatch.setattr(card_facts, "MOST_IMAGES", 3)
    facts = read_card_facts(data(train=Flat([0, 0, 1, 1, 0, 1])).splits)
    assert facts.images == 6
    assert facts.examples.tolist() == [1, 2], "the first, one of the middle and the last"


class Masked(Shapes):
    """Objects whose masks fill a share of their boxes."""

    def __init__(self, share, **options):
        super().__init__(count=4, size=32, empty_share=0.0, **options)
        self.share = share

    def annotation(self, index):
        annotation = super().annotation(index)
        annotation.masks = [{"size": [32, 32], "counts": b""}] * len(annotation)
        annotation.area = self.share * np.prod(annotation.boxes[:, 2:] - annotation.boxes[:, :2], axis=1)
        return annotation


@pytest.mark.parametrize(("share", "has_masks"), [(0.7, True), (1.0, False)])
def test_masks_that_are_boxes_do_not_count(share, has_masks):
    reader = Masked(share)
    splits = data(train=reader).splits
    assert read_card_facts(splits, splits).has_masks is has_masks
    assert not read_card_facts(splits).has_masks, "opened without masks"


def test_images_with_several_classes():
    class Tagged(Flat):
        def tags(self, index):
            return np.array([0, 1])

    assert read_card_facts(data(train=Tagged([None, None])).splits).multi_label
    assert not read_card_facts(data(train=Tagged([0, 1])).splits).multi_label, "each has a single class too"


def test_an_empty_split_is_refused():
    with pytest.raises(DataError, match="no images"):
        read_card_facts(data(train=Flat([])).splits)


def test_thickness_of_regions():
    mask = np.full((40, 60), 255, np.uint8)
    mask[5:35, :30] = 0
    mask[10:20, :30] = 1
    assert mask_thickness([mask], 3).tolist() == [2 * 20 * 30 / 60, 2 * 10 * 30 / 60, np.inf], (
        "ignored pixels are no border"
    )
    disc = (np.hypot(*np.mgrid[-50:50, -50:50]) < 40).astype(np.uint8)
    assert mask_thickness([disc], 2)[1] == pytest.approx(40 * np.pi / 4, rel=0.02)


def test_the_thinnest_class_of_masks():
    assert read_card_facts(data(train=Flat([None] * 2, masks=[0, 1])).splits).thinnest == np.inf
    assert read_card_facts(data(train=Flat([0, 1])).splits).thinnest == np.inf
