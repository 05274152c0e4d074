import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from PIL import Image

from visionkit.data.batch import to_target
from visionkit.data.datamodule import VisionData
from visionkit.data.datasets.concatenated import ConcatenatedDataset
from visionkit.data.datasets.shapes import Shapes
from visionkit.errors import ConfigError

SPLITS = {name: {"split": name, "count": count, "size": 48} for name, count in [("train", 10), ("val", 5)]}


def shapes_data(**options):
    return VisionData(format="shapes", splits=SPLITS, batch_size=4, **{"num_workers": 0, **options})


def test_batches_keep_every_image_and_its_empty_targets():
    batches = list(shapes_data().val_dataloader())
    assert [len(batch.images) for batch in batches] == [4, 1]
    assert all(image.dtype == torch.uint8 for batch in batches for image in batch.images)
    assert len({target["image_id"] for batch in batches for target in batch.targets}) == 5


def test_missing_splits_are_errors():
    data = shapes_data()
    with pytest.raises(ConfigError, match="the data has no test split"):
        data.test_dataloader()
    data.tested_split = "val"
    assert len(list(data.test_dataloader())) == 2
    data = VisionData(format="shapes", splits={"val": SPLITS["val"]}, num_workers=0)
    with pytest.raises(ConfigError, match="the data has no train split, only val"):
        data.train_dataloader()


def test_joined_readers_answer_like_one():
    first, second = Shapes(split="train", count=3, size=32), Shapes(split="val", count=4, size=32)
    joined = ConcatenatedDataset([first, second])
    assert len(joined) == 7
    np.testing.assert_array_equal(joined[2].image, first[2].image)
    np.testing.assert_array_equal(joined[3].image, second[0].image)
    np.testing.assert_array_equal(joined.annotation(6).boxes, second.annotation(3).boxes)


def test_targets_of_an_empty_image_keep_their_shapes():
    shapes = Shapes(split="train", count=60, size=48, empty_share=1.0)
    target = to_target(shapes[0])
    assert target["boxes"].shape == (0, 4)
    assert target["labels"].dtype == torch.int64
    assert target["crowd"].dtype == torch.bool


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.setenv("PL_GLOBAL_SEED", "")  # put back as it was at the end
    monkeypatch.setenv("PL_SEED_WORKERS", "")


def _images(workers: int, seed: int) -> list[list[torch.Tensor]]:
    """Two epochs of one constant sample under a random crop."""
    pl.seed_everything(seed, verbose=False)
    augment = [{"name": "RandomCrop", "height": 24, "width": 24}]
    same = {"train": {"split": "train", "count": 8, "size": 48}}
    loader = VisionData(
        format="shapes", splits=same, batch_size=8, num_workers=workers, augment=augment
    ).train_dataloader()
    loader.dataset.dataset = _Repeated(loader.dataset.dataset[0])
    return [next(iter(loader)).images for _ in range(2)]


class _Repeated:
    def __init__(self, sample):
        self.sample = sample

    def __len__(self):
        return 8

    def __getitem__(self, index):
        return self.sample


@pytest.mark.parametrize("workers", [0, 2])
def test_augmentation_differs_between_samples_workers_and_epochs_and_repeats_by_seed(workers):
    first, second = _images(workers, seed=3)
    distinct = {image.numpy().tobytes() for image in first + second}
    assert len(distinct) > 12, "sixteen crops of one image should hardly ever coincide"
    again, _ = _images(workers, seed=3)
    assert {p.numpy().tobytes() for p in first} == {p.numpy().tobytes() for p in again}


@pytest.mark.parametrize("workers", [0, 2])
def test_masks_of_classes_come_with_their_images_and_are_void_where_padded(tmp_path, workers):
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for number in range(4):
        Image.new("L", (30, 20), 50 * number).save(tmp_path / "images" / f"{number}.png")
        Image.new("L", (30, 20), 100 * (number % 2)).save(tmp_path / "masks" / f"{number}.png")
    split = {"images": "images", "masks": "masks", "values": {0: "sea", 100: "land"}}
    data = VisionData(
        format="masks",
        root=str(tmp_path),
        splits={"train": split},
        batch_size=4,
        num_workers=workers,
        augment=[{"name": "PadIfNeeded", "min_height": 24, "min_width": 24}],
        required="semantic",
    )
    batch = next(iter(data.train_dataloader()))
    for image, target in zip(batch.images, batch.targets, strict=True):
        assert image.shape == (3, 24, 30)
        assert target["semantic"].dtype == torch.uint8
        assert (target["semantic"][[0, 1, -2, -1]] == 255).all()
        assert (target["semantic"][2:-2] == int(target["image_id"][0]) % 2).all()
    counts, out_of = data.pixel_counts("train")
    assert counts.tolist() == out_of.tolist() == [1200, 1200]
    assert data.class_colors is None
