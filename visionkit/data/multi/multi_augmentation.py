"""The augmentation of several data cards."""

from collections.abc import Mapping

from visionkit.data.datasets.base import VisionDataset
from visionkit.data.datasets.subset import SubsetDataset
from visionkit.data.multi.joined import JoinedDataset
from visionkit.data.transforms.augmentation import Augmentation
from visionkit.data.transforms.early_resize import InputSize
from visionkit.structures import Sample


class MultiAugmentation(Augmentation):
    """Random transforms of samples of several data cards: those of the sample's card.

    Args:
        of_card: augmentation by the name of the card; at least one.

    Example:
        >>> import dataclasses
        >>> from visionkit.data.datasets.shapes import Shapes
        >>> from visionkit.data.multi.multi_augmentation import MultiAugmentation
        >>> from visionkit.data.transforms.augmentation import Augmentation
        >>> flip = Augmentation([{"name": "HorizontalFlip", "p": 1.0}])
        >>> augmentation = MultiAugmentation({"plain": Augmentation([]), "flipped": flip})
        >>> sample = dataclasses.replace(Shapes(size=64)[0], card="flipped")
        >>> bool((augmentation(sample).image == sample.image[:, ::-1]).all())
        True
    """

    def __init__(self, of_card: Mapping[str, Augmentation]) -> None:
        self.of_card = dict(of_card)
        super().__init__([])

    @property
    def input_size(self) -> InputSize | None:
        """Size to which an image is resized before its last transforms, see `Augmentation`; set for all cards."""
        return next(iter(self.of_card.values())).input_size

    @input_size.setter
    def input_size(self, size: InputSize | None) -> None:
        for augmentation in self.of_card.values():
            augmentation.input_size = size

    def __bool__(self) -> bool:
        """Return whether a card has any steps."""
        return any(self.of_card.values())

    def seed(self, seed: int) -> None:
        """Seed the random generators of all cards with the same number."""
        for augmentation in self.of_card.values():
            augmentation.seed(seed)

    def fit(self, dataset: VisionDataset) -> None:
        """Fit the transforms of each card to the card's own images in a `JoinedDataset`."""
        assert isinstance(dataset, JoinedDataset)
        for card, augmentation in self.of_card.items():
            own = dataset.indices_of(card)
            if len(own):
                augmentation.fit(SubsetDataset(dataset, own))

    def __call__(self, sample: Sample) -> Sample:
        """Return the sample, augmented as its card says; see `Augmentation`."""
        assert sample.card is not None
        return self.of_card[sample.card](sample)
