"""The splits of several data cards, each with labels for some heads."""

import dataclasses
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray

from visionkit.data.datasets.base import AnnotationKind, VisionDataset
from visionkit.data.datasets.concatenated import ConcatenatedDataset
from visionkit.data.datasets.recognition import SPLITS
from visionkit.data.datasets.subset import SubsetDataset
from visionkit.data.multi.image_files import image_files
from visionkit.data.multi.joined import HeadSource, JoinedDataset, find_repeated
from visionkit.data.splits import Splits
from visionkit.data.stats.pixel_counts import PixelCounts
from visionkit.errors import ConfigError, DataError
from visionkit.registry import suggest
from visionkit.structures import Sample

logger = logging.getLogger("visionkit")


class CardsDataset(ConcatenatedDataset):
    """The images of several cards one after another; an id that occurs more than once gets its card's name in front.

    Args:
        datasets: dataset of each card, with equal classes.

    Example:
        >>> from visionkit.data.datasets.shapes import Shapes
        >>> from visionkit.data.multi.multi_splits import CardsDataset
        >>> cards = CardsDataset({"a": Shapes(count=1, size=64), "b": Shapes(count=2, size=64)})
        >>> [cards.image_id(index) for index in range(3)]
        ['a/0', 'b/0', 1]
    """

    def __init__(self, datasets: Mapping[str, VisionDataset]) -> None:
        super().__init__([*datasets.values()])
        self._cards = [card for card, dataset in datasets.items() for _ in range(len(dataset))]
        self._repeated = np.zeros(len(self), bool)
        self._repeated = find_repeated([self.image_id(index) for index in range(len(self))])

    def image_id(self, index: int) -> int | str:
        """Return the id in the card, with the card's name in front if it is not unique."""
        own = super().image_id(index)
        return f"{self._cards[index]}/{own}" if self._repeated[index] else own

    def __getitem__(self, index: int) -> Sample:
        return dataclasses.replace(super().__getitem__(index), image_id=self.image_id(index))


class HeadSplits(Splits):
    """The splits of one head: the images of all its cards.

    Args:
        head: name of the head.
        cards: splits by the name of the card; they have the same bit depth.
    """

    def __init__(self, head: str, cards: Mapping[str, Splits]) -> None:
        super().__init__(None, None, next(iter(cards.values())).bit_depth)
        self.head, self.cards = head, cards

    @property
    def names(self) -> list[str]:
        """See `Splits`."""
        return _names(self.cards.values())

    def open(self, split: str) -> VisionDataset:
        """See `Splits`."""
        check_classes(self.head, self.cards)
        having = {card: splits for card, splits in self.cards.items() if split in [*splits]}
        if not having:
            raise ConfigError(f"head {self.head}: no card has a split {split!r}{suggest(split, self.names)}")
        return CardsDataset({card: _part(card, splits, split) for card, splits in having.items()})


class MultiSplits(Splits):
    """The splits of several data cards, of which each has labels for some heads.

    A card's own settings (`holdout`, `exclude`, `required`) apply to its part. Classes are those of all heads, with
    the name of the head in front.

    Args:
        sources: splits by the name of the head, and of the card.
        kinds: annotation that each head is trained with.
        joinable: returns whether two cards have the same augmentation, see `JoinedDataset`.

    Raises:
        ConfigError: two cards have different bit depths.

    Example:
        >>> from visionkit.data.card_splits import CardSplits
        >>> from visionkit.data.multi.multi_splits import MultiSplits
        >>> card = CardSplits("shapes", None, {"train": {"count": 4, "size": 64}})
        >>> sources = {"objects": {"shapes": card}, "tags": {"shapes": card}}
        >>> kinds = {"objects": "boxes", "tags": "tags"}
        >>> splits = MultiSplits(sources, kinds, lambda card, other: card == other)
        >>> splits.names, len(splits.dataset("train")), splits.class_names[5:7]
        (['train'], 4, ['objects/cross', 'tags/disc'])
    """

    def __init__(
        self,
        sources: Mapping[str, Mapping[str, Splits]],
        kinds: Mapping[str, AnnotationKind],
        joinable: Callable[[str, str], bool],
    ) -> None:
        super().__init__(None, None, _common_bit_depth(sources))
        self.sources, self.kinds, self.joinable = sources, kinds, joinable
        self._of_head = {
            head: next(iter(cards.values())) if len(cards) == 1 else HeadSplits(head, cards)
            for head, cards in sources.items()
        }

    @property
    def names(self) -> list[str]:
        """Names of the splits that a card has, those that are held out included."""
        return _names(splits for cards in self.sources.values() for splits in cards.values())

    def of_head(self, head: str) -> Splits:
        """Return the splits of one head, with the classes of this head alone."""
        return self._of_head[head]

    def open(self, split: str) -> JoinedDataset:
        """See `Splits`."""
        if split not in self.names:
            raise ConfigError(f"no card has a split {split!r}{suggest(split, self.names)}\nadd it under data.splits")
        for head, cards in self.sources.items():
            check_classes(head, cards)
        sources = [
            HeadSource(head, card, self.kinds[head], _part(card, splits, split))
            for head, cards in self.sources.items()
            for card, splits in cards.items()
        ]
        return JoinedDataset(sources, self.joinable)

    def dataset(self, split: str) -> VisionDataset:
        """Return the dataset of `split`, see `Splits`, and warn of images that another card trains on."""
        if split in self._opened:
            return self._opened[split]
        dataset = super().dataset(split)
        self._warn_of_leaks([*self._opened] if split == "train" else [split])
        return dataset

    def check_trained(self) -> None:
        """Check that each head has images to train on.

        Raises:
            ConfigError: a head has none; the message names its cards.
        """
        for head, cards in self.sources.items():
            if not any("train" in [*splits] for splits in cards.values()):
                raise ConfigError(
                    f"head {head} has nothing to train on: no train split in {', '.join(cards)}\n"
                    "add it under data.splits, give the head another card, or remove the head"
                )

    def class_counts(self, split: str) -> NDArray[np.int64]:
        """See `Splits`; an image counts for each of its heads, and only if the head has the split."""
        return np.concatenate(
            [
                splits.class_counts(split) if split in [*splits] else np.zeros(len(splits.class_names), np.int64)
                for splits in self._of_head.values()
            ]
        )

    def pixel_counts(self, split: str) -> PixelCounts:
        """See `Splits`; heads without the split have no pixels."""
        counts = [
            splits.pixel_counts(split)
            if split in [*splits]
            else PixelCounts(*np.zeros((2, len(splits.class_names)), np.int64))
            for splits in self._of_head.values()
        ]
        return PixelCounts(*(np.concatenate(part) for part in zip(*counts, strict=True)))

    def _warn_of_leaks(self, splits: list[str]) -> None:
        """Log how many images of evaluation splits are in the training split of another card."""
        cards = {card: own for of_head in self.sources.values() for card, own in of_head.items()}
        if "train" not in self._opened or len(cards) < 2:
            return
        trained: dict[str, set[str]] = {}
        for card, file in self._files("train"):
            trained.setdefault(file, set()).add(card)
        leaks = {
            split: {file for card, file in self._files(split) if trained.get(file, set()) - {card}}
            for split in splits
            if split != "train"
        }
        found = [f"{len(files)} images of {split}" for split, files in leaks.items() if files]
        if found:
            example = next(iter(sorted(set().union(*leaks.values()))))
            logger.warning(
                "%s are in the train split of another card, so that the metrics will be too high: %s\n"
                "put an image into the same split in all cards, or leave it out: data.exclude",
                " and ".join(found), example,
            )  # fmt: skip

    def _files(self, split: str) -> set[tuple[str, str]]:
        """Return the card and the file of each image of a split that has a file."""
        return {
            (card, file)
            for cards in self.sources.values()
            for card, splits in cards.items()
            if split in [*splits]
            for file in image_files(splits.dataset(split))
            if file is not None
        }


def check_classes(head: str, cards: Mapping[str, Splits]) -> None:
    """Check that all cards of a head have the same classes in the same order.

    Raises:
        DataError: two cards differ; the message names the first class in which they differ.
    """
    class_names = {card: _class_names(card, splits) for card, splits in cards.items()}
    (first, expected), *others = class_names.items()
    for card, found in others:
        pairs = enumerate(zip_longest(expected, found))
        different = next(((number, *pair) for number, pair in pairs if pair[0] != pair[1]), None)
        if different is not None:
            number, *names = different
            one, two = ("missing" if name is None else repr(name) for name in names)
            raise DataError(
                f"head {head}: the cards {first} and {card} have different classes: class {number} is {one} in {first} "
                f"and {two} in {card}\n"
                "the same label would mean different classes; list the same classes in both cards (data.classes), "
                "or give each card a head of its own"
            )


def _names(splits: Iterable[Splits]) -> list[str]:
    """Return the names of the splits that one of several cards has, in the usual order."""
    found = {name for own in splits for name in own}
    return [name for name in SPLITS if name in found]


def _part(card: str, splits: Splits, split: str) -> VisionDataset:
    """Return a split of a card; without one, no image, but the classes."""
    with _naming(card):
        return splits.dataset(split) if split in [*splits] else SubsetDataset(splits.main_split(), [])


def _class_names(card: str, splits: Splits) -> list[str]:
    with _naming(card):
        return splits.class_names


@contextmanager
def _naming(card: str) -> Iterator[None]:
    """Put the name of the card in front of errors, which otherwise do not tell which of several cards is wrong."""
    try:
        yield
    except (ConfigError, DataError) as error:
        raise type(error)(f"card {card}: {error}") from error


def _common_bit_depth(sources: Mapping[str, Mapping[str, Splits]]) -> int | None:
    """Return the bit depth of all cards.

    Raises:
        ConfigError: two cards have different ones.
    """
    depths = {card: splits.bit_depth for cards in sources.values() for card, splits in cards.items()}
    (first, depth), *others = depths.items()
    for card, other in others:
        if other != depth:
            raise ConfigError(
                f"the cards {first} and {card} have different bit depths: {depth} and {other}\n"
                "a model reads all images in one way: set data.bit_depth to the same number in both"
            )
    return depth
