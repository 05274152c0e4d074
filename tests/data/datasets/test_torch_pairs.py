import numpy as np
import pytest
import torch
from torch.utils.data import Dataset, IterableDataset
from torchvision import tv_tensors
from torchvision.datasets import FakeData

import visionkit as vk
from tests.helpers.small_classifier import small_classification
from tests.helpers.small_trainer import small_trainer
from visionkit.data.batch import to_target
from visionkit.data.datasets.shapes import Shapes
from visionkit.data.datasets.torch_pairs import TorchPairs, as_vision_dataset
from visionkit.errors import ConfigError, DataError

NAMES = ["cat", "dog"]


class PairsOfShapes(Dataset):
    """Shapes as a torchvision detection dataset: labels from 1, image ids as tensors."""

    def __init__(self, **options):
        self.shapes = Shapes(**options)

    def __len__(self):
        return len(self.shapes)

    def __getitem__(self, index):
        sample = self.shapes[index]
        target = {
            "boxes": tv_tensors.BoundingBoxes(sample.annotation.boxes, format="XYXY", canvas_size=sample.size),
            "labels": torch.from_numpy(sample.annotation.labels) + 1,
            "area": torch.from_numpy(sample.annotation.area),
            "iscrowd": torch.zeros(len(sample.annotation), dtype=torch.int64),
            "image_id": torch.tensor([index]),
        }
        return tv_tensors.Image(torch.from_numpy(sample.image).permute(2, 0, 1)), target


def test_pairs_are_read_as_the_dataset_that_they_come_from():
    pairs = PairsOfShapes(count=12, size=[48, 64], empty_share=0.3)
    shapes, dataset = pairs.shapes, TorchPairs(pairs, pairs.shapes.class_names, first_label=1)
    assert len(dataset) == 12
    assert (dataset.class_names, dataset.category_ids) == (shapes.class_names, shapes.category_ids)
    for index in range(12):
        np.testing.assert_array_equal(dataset[index].image, shapes[index].image)
        got, expected = to_target(dataset[index]), to_target(shapes[index])
        for key in ("boxes", "labels", "crowd", "difficult", "area", "tags"):
            torch.testing.assert_close(got[key], expected[key])
        assert dataset.image_id(index) == got["image_id"] == index
        assert dataset.image_size(index) == (48, 64)
        np.testing.assert_array_equal(dataset.tags(index), shapes.tags(index))
        np.testing.assert_array_equal(dataset.annotation(index).boxes, shapes.annotation(index).boxes)
        assert dataset.label(index) is None
        assert not dataset.has_semantic(index)


def test_annotations_are_read_once_and_without_the_pixels():
    reads = []

    class Counted(PairsOfShapes):
        def __getitem__(self, index):
            reads.append(index)
            return super().__getitem__(index)

    dataset = TorchPairs(Counted(count=3, size=48), Shapes().class_names, first_label=1)
    for _ in range(3):
        [dataset.annotation(index) for index in range(3)]
        [dataset.tags(index) for index in range(3)]
    assert reads == [0, 1, 2]
    assert all(sample.image.strides == (0, 0, 0) for sample in dataset._annotations.values())


def test_repairs_are_counted_once():
    target = {"boxes": [[-1, 0, 8, 8], [3, 3, 3, 9]], "labels": torch.tensor([0, 1])}
    dataset = TorchPairs([(np.zeros((9, 9, 3), np.uint8), target)], NAMES)
    for _ in range(2):
        assert dataset[0].annotation.boxes.tolist() == dataset.annotation(0).boxes.tolist() == [[0, 0, 8, 8]]
    assert dataset.report == {"boxes without area dropped": 1, "boxes clipped by up to 2 px": 1}


def test_semantic_masks_are_read_again_and_not_kept():
    mask = torch.randint(0, 2, (6, 8), dtype=torch.uint8)
    dataset = TorchPairs([(torch.zeros(3, 6, 8), mask)], NAMES)
    assert dataset.has_semantic(0)
    np.testing.assert_array_equal(dataset.semantic(0), mask.numpy())
    assert dataset._annotations[0].semantic.strides == (0, 0)


@pytest.mark.parametrize("item", [torch.zeros(3, 4, 4), (torch.zeros(3, 4, 4),), {"image": 1}])
def test_what_is_not_a_pair_is_refused(item):
    with pytest.raises(DataError, match=r"val\[0\] is not a pair"):
        TorchPairs([item], NAMES, name="val")[0]


def test_iterable_datasets_and_missing_or_other_class_names_are_refused():
    class Stream(IterableDataset):
        def __iter__(self):
            return iter([])

    pair = [(torch.zeros(3, 4, 4), 0)]
    with pytest.raises(ConfigError, match="train: Stream has no length"):
        as_vision_dataset(Stream(), "train", NAMES, 0)
    with pytest.raises(ConfigError, match="needs class_names"):
        as_vision_dataset(pair, "train", None, 0)
    with pytest.raises(ConfigError, match="needs class_names"):
        as_vision_dataset(pair, "train", ["cat", "cat"], 0)
    shapes = Shapes()
    assert as_vision_dataset(shapes, "train", None, 0) is shapes
    with pytest.raises(ConfigError, match="class_names differ"):
        as_vision_dataset(shapes, "train", NAMES, 0)


def test_a_detector_scores_pairs_as_it_scores_their_source():
    torch.manual_seed(0)
    pairs = PairsOfShapes(count=6, size=64)
    names = pairs.shapes.class_names
    model = vk.RetinaNet(vk.create_backbone("resnet18", weights="none"), num_classes=len(names))
    task = vk.Detection(model, names, preprocess=vk.DetectionPreprocessOptions(short_side=64, long_side=64))
    given = vk.VisionData.from_datasets(val=pairs, class_names=names, first_label=1, num_workers=0)
    source = vk.VisionData.from_datasets(val=pairs.shapes, num_workers=0)
    assert given.class_names == source.class_names == names
    first, second = (small_trainer().validate(task, data, verbose=False) for data in (given, source))
    assert first == second
    assert "val/AP" in first[0]


def test_torchvisions_datasets_train_a_classifier():
    def fake(count):
        return FakeData(count, (3, 32, 32), num_classes=2)

    data = vk.VisionData.from_datasets(
        train=fake(8), class_names=NAMES, batch_size=4, num_workers=0,
        required="label", holdout=vk.HoldoutOptions(fraction=0.5), augment=[{"name": "HorizontalFlip"}],
    )  # fmt: skip
    assert (len(data.dataset("train")), len(data.dataset("val"))) == (4, 4)
    task = small_classification(NAMES)
    trainer = small_trainer()
    trainer.fit(task, data)
    assert "val/top1" in trainer.callback_metrics
