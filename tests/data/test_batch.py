import numpy as np
import pytest
import torch
from lightning.fabric.utilities import move_data_to_device

from visionkit.data.batch import Batch, TargetDataset, collate, to_target, to_tensor
from visionkit.data.datasets.shapes import Shapes
from visionkit.data.samplers import SeededImage
from visionkit.data.transforms.augmentation import Augmentation
from visionkit.structures import Sample


def sample(image_id, **known):
    image = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)
    return Sample(image, image_id, f"{image_id}.png", **known)


def test_channels_come_first_in_memory_of_their_own():
    given = sample(1)
    tensor = to_tensor(given.image)
    assert tensor.shape == (3, 5, 7)
    assert tensor.is_contiguous()
    assert tensor[2, 1, 3] == given.image[1, 3, 2]


def test_a_target_has_what_the_sample_has():
    assert not {"label", "tags", "masks", "semantic"} & set(to_target(sample(1)))
    target = to_target(sample("b", label=3, tags=np.array([0, 3])))
    assert (target["label"], target["image_id"], target["size"]) == (3, "b", (5, 7))
    assert target["tags"].tolist() == [0, 3]
    assert target["tags"].dtype == torch.int64
    none = to_target(sample(1, tags=np.array([], np.int64)))["tags"]
    assert none.dtype == torch.int64
    assert none.shape == (0,)
    mask = np.arange(35, dtype=np.uint8).reshape(5, 7)[:, ::-1]
    semantic = to_target(sample(1, semantic=mask))["semantic"]
    assert semantic.dtype == torch.uint8
    assert semantic.tolist() == mask.tolist()


def test_samples_side_by_side_keep_their_order():
    items = [(to_tensor(sample(name).image), to_target(sample(name))) for name in ("a", 2)]
    batch = collate(items)
    assert isinstance(batch, Batch)
    assert batch.image_ids == ["a", 2]
    assert [image.shape for image in batch.images] == [(3, 5, 7)] * 2


@pytest.mark.parametrize(
    ("steps", "key", "draws"),
    [
        (None, 1, False),
        ([{"name": "HorizontalFlip"}], 1, True),
        ([{"name": "HorizontalFlip"}], SeededImage(1, 7), False),
    ],
)
def test_a_random_number_is_drawn_only_to_augment_without_a_seed(steps, key, draws):
    dataset = TargetDataset(Shapes(count=2, size=32), None if steps is None else Augmentation(steps))
    before = torch.get_rng_state()
    assert dataset[key][1]["image_id"] == 1
    assert torch.equal(torch.get_rng_state(), before) != draws


def test_the_heads_of_an_image_stay_as_they_are_in_targets_augmentation_and_transfer():
    assert "heads" not in to_target(sample(1))
    known = sample(1, heads=("objects", "tags"), card="bccd")
    for size in (None, lambda height, width: (3, 4)):
        augmentation = Augmentation([{"name": "Rotate"}, {"name": "HorizontalFlip"}])
        augmentation.input_size = size
        assert (augmentation(known).heads, augmentation(known).card) == (("objects", "tags"), "bccd")
    batch = collate([(to_tensor(known.image), to_target(known))])
    moved = move_data_to_device(batch, torch.device("meta"))
    assert moved.images[0].is_meta
    assert moved.targets[0]["heads"] == ("objects", "tags")
