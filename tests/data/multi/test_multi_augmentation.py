import dataclasses

import numpy as np
import pytest

from visionkit.data.datasets.shapes import Shapes
from visionkit.data.datasets.subset import SubsetDataset
from visionkit.data.multi.joined import HeadSource, JoinedDataset
from visionkit.data.multi.multi_augmentation import MultiAugmentation
from visionkit.data.transforms.augmentation import Augmentation

CROP = [{"name": "RandomCrop", "height": 20, "width": 20}]


def sample(card):
    return dataclasses.replace(Shapes(size=64)[0], card=card, heads=("objects",))


@pytest.fixture
def crop_or_nothing():
    return MultiAugmentation({"plain": Augmentation([]), "cropped": Augmentation(CROP)})


def test_the_card_of_the_sample_decides(crop_or_nothing):
    assert crop_or_nothing(sample("plain")).size == (64, 64)
    cropped = crop_or_nothing(sample("cropped"))
    assert (cropped.size, cropped.heads, cropped.card) == ((20, 20), ("objects",), "cropped")
    assert crop_or_nothing
    assert not MultiAugmentation({"plain": Augmentation([])})


def test_a_seed_gives_what_it_gives_for_the_card_alone(crop_or_nothing):
    alone = Augmentation(CROP)
    for seed in range(3):
        crop_or_nothing.seed(seed)
        alone.seed(seed)
        np.testing.assert_array_equal(crop_or_nothing(sample("cropped")).image, alone(sample("cropped")).image)


def test_the_input_size_is_that_of_all_cards(crop_or_nothing):
    assert crop_or_nothing.input_size is None
    size = crop_or_nothing.input_size = lambda height, width: (16, 16)
    assert crop_or_nothing.input_size is size
    assert crop_or_nothing(sample("plain")).size == crop_or_nothing(sample("cropped")).size == (16, 16)


def test_each_card_is_fitted_to_its_own_images():
    class Colored(SubsetDataset):
        def __init__(self, channel):
            super().__init__(Shapes(count=4, size=64), range(4))
            self.channel = channel

        def __getitem__(self, index):
            found = super().__getitem__(index)
            image = np.zeros_like(found.image)
            image[..., self.channel] = found.image[..., self.channel]
            return dataclasses.replace(found, image=image)

    cards = {"red": 0, "blue": 2}
    augmentation = MultiAugmentation(
        {card: Augmentation([{"name": "PcaColorShift", "sigma": 9.0}]) for card in [*cards, "without images"]}
    )
    sources = [HeadSource("objects", card, "boxes", Colored(channel)) for card, channel in cards.items()]
    augmentation.fit(JoinedDataset(sources, lambda card, other: True))
    for card, channel in cards.items():
        augmentation.seed(0)
        gray = dataclasses.replace(sample(card), image=np.full((64, 64, 3), 100, np.uint8))
        changed = (augmentation(gray).image != 100).any(axis=(0, 1))
        assert changed.tolist() == [number == channel for number in range(3)]
