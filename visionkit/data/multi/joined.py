"""The images of several data cards as one dataset, in which an image with labels of several heads is one item."""

from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from visionkit.data.datasets.base import AnnotationKind, VisionDataset
from visionkit.data.datasets.delegating import DelegatingDataset
from visionkit.data.multi.image_files import image_files
from visionkit.errors import DataError
from visionkit.structures import Annotation, Sample

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class HeadSource:
    """Images with labels for one head.

    Attributes:
        head: name of the head.
        card: name of the data card.
        kind: annotation that the head is trained with.
        dataset: the images.
    """

    head: str
    card: str
    kind: AnnotationKind
    dataset: VisionDataset


class JoinedDataset(DelegatingDataset):
    """The images of several sources, each of which has labels for one head.

    An image is recognized by its file, or without one by its card and id. An image that several sources have is one
    item, so that the backbone runs once, if

    - its annotations have different kinds, or are the same annotation: of one card, with equal class names; and
    - the cards have the same augmentation (`joinable`).

    It is several items otherwise. An item is decoded once, by its first source. A sample has only the annotations that
    its heads are trained with. Labels are those of the head's own classes.

    The id of an item is that of its first source. Items whose ids are equal get the name of the card in front
    ("card/id"), and that of the head if this is not enough ("card/head/id").

    Args:
        sources: at least one; the classes of a head are those of its first source.
        joinable: returns whether two cards have the same augmentation.

    Attributes:
        class_names: "head/class" of all heads, one head after another; `category_ids` are in the same order.
        report: see `VisionDataset`, with the name of the card in front of the reason. Of several heads of a card, which
            read the same files, the largest count is given.
        groups: int64 [N], number of each item's group: the set of cards that it comes from.
        group_names: name of each group, the names of its cards ("boxes+masks").

    Example:
        >>> from visionkit.data.datasets.shapes import Shapes
        >>> from visionkit.data.multi.joined import HeadSource, JoinedDataset
        >>> objects = HeadSource("objects", "shapes", "boxes", Shapes(count=4, size=64))
        >>> tags = HeadSource("tags", "shapes", "tags", Shapes(count=6, size=64))
        >>> joined = JoinedDataset([objects, tags], lambda card, other: card == other)
        >>> len(joined), joined.heads(0), joined.heads(5), joined.group_names
        (6, ('objects', 'tags'), ('tags',), ['shapes'])
    """

    def __init__(self, sources: Sequence[HeadSource], joinable: Callable[[str, str], bool]) -> None:
        super().__init__(sources[0].dataset, _report(sources))
        self.sources = list(sources)
        heads = {source.head: source.dataset for source in reversed(self.sources)}
        heads = {source.head: heads[source.head] for source in self.sources}
        self.class_names = [f"{head}/{name}" for head, dataset in heads.items() for name in dataset.class_names]
        self.category_ids = [number for dataset in heads.values() for number in dataset.category_ids]
        self.class_colors = None
        self._rows = _items(self.sources, joinable)
        self._first_source = (self._rows >= 0).argmax(axis=1)
        self.groups, self.group_names = _groups(self._rows >= 0, [source.card for source in self.sources])
        self._by_kind = {kind: _preferred(self.sources, kind) for kind in get_args(AnnotationKind)}
        self._set_ids()

    def __len__(self) -> int:
        return len(self._rows)

    def locate(self, index: int) -> tuple[VisionDataset, int]:
        """Return the dataset that decodes the image, and the image's index in it."""
        source, inner = self._first(index)
        return source.dataset, inner

    def __getitem__(self, index: int) -> Sample:
        (first, inner), kept = self._first(index), self._kinds_of_first(index)
        sample = first.dataset[inner]
        joined = replace(
            sample,
            image_id=self.image_id(index),
            annotation=sample.annotation if "boxes" in kept else self.annotation(index),
            semantic=sample.semantic if "semantic" in kept else self.semantic(index),
            label=sample.label if "label" in kept else self.label(index),
            tags=sample.tags if "tags" in kept else self.tags(index),
            heads=self.heads(index),
            card=first.card,
        )
        self._check_sizes(joined, index)
        return joined

    def heads(self, index: int) -> tuple[str, ...]:
        """Return the heads that the image has labels for, in the order of the sources."""
        found = np.flatnonzero(self._rows[index] >= 0)
        return tuple(dict.fromkeys(self.sources[number].head for number in found))

    def heads_of_images(self, card: str) -> list[str]:
        """Return the heads that the images which are augmented as a card have labels for."""
        cards = np.array([source.card for source in self.sources])[self._first_source]
        found = (self._rows[cards == card] >= 0).any(axis=0)
        return list(dict.fromkeys(self.sources[number].head for number in np.flatnonzero(found)))

    def indices_of(self, card: str) -> NDArray[np.int64]:
        """Return the items that come from a card, int64, in ascending order."""
        own = [number for number, source in enumerate(self.sources) if source.card == card]
        return np.flatnonzero((self._rows[:, own] >= 0).any(axis=1))

    def image_id(self, index: int) -> int | str:
        """Return the id of the first source, with the names of card and head in front if it is not unique."""
        source, inner = self._first(index)
        own = source.dataset.image_id(inner)
        if not self._with_card[index]:
            return own
        return f"{source.card}/{source.head}/{own}" if self._with_head[index] else f"{source.card}/{own}"

    def annotation(self, index: int) -> Annotation:
        """Return the objects of the image; an empty annotation if no head of it is trained with boxes."""
        found = self._of_kind("boxes", index)
        return Annotation() if found is None else found[0].dataset.annotation(found[1])

    def label(self, index: int) -> int | None:
        """Return the class of the image; None if no head of it is trained with labels."""
        found = self._of_kind("label", index)
        return None if found is None else found[0].dataset.label(found[1])

    def tags(self, index: int) -> NDArray[np.int64] | None:
        """Return all classes of the image; None if no head of it is trained with tags."""
        found = self._of_kind("tags", index)
        return None if found is None else found[0].dataset.tags(found[1])

    def has_semantic(self, index: int) -> bool:
        """Return whether a head of the image is trained with semantic masks."""
        return self._of_kind("semantic", index) is not None

    def semantic(self, index: int) -> NDArray[np.uint8] | None:
        """Return the semantic mask; None if no head of the image is trained with one."""
        found = self._of_kind("semantic", index)
        return None if found is None else found[0].dataset.semantic(found[1])

    def _first(self, index: int) -> tuple[HeadSource, int]:
        """Return the first source of an item, and the image's index in it."""
        number = int(self._first_source[index])
        return self.sources[number], int(self._rows[index, number])

    def _of_kind(self, kind: AnnotationKind, index: int) -> tuple[HeadSource, int] | None:
        """Return the source of an annotation of an item, and the image's index in it; None if there is none."""
        row = self._rows[index]
        number = next((number for number in self._by_kind[kind] if row[number] >= 0), None)
        return None if number is None else (self.sources[number], int(row[number]))

    def _kinds_of_first(self, index: int) -> set[AnnotationKind]:
        """Return the annotations of an item that the sample of its first source has."""
        first = self._first(index)[0]
        found = {kind: self._of_kind(kind, index) for kind in self._by_kind}
        return {kind for kind, source in found.items() if source is not None and source[0] is first}

    def _check_sizes(self, sample: Sample, index: int) -> None:
        """Raise if another source than the one that decodes the image has its annotation for another size."""
        first, boxes = self._first(index)[0], self._of_kind("boxes", index)
        stated = {"mask": sample.size if sample.semantic is None else sample.semantic.shape}
        if boxes is not None and boxes[0].card != first.card:
            stated[f"annotation in the card {boxes[0].card}"] = boxes[0].dataset.image_size(boxes[1])
        for what, (height, width) in stated.items():
            if (height, width) != sample.size:
                raise DataError(
                    f"{sample.file_name} (card {first.card}) has {sample.size[0]} x {sample.size[1]} pixels (height x "
                    f"width, after EXIF rotation), but its {what} has {height} x {width}"
                )

    def _set_ids(self) -> None:
        """Find the items whose ids need the name of their card, and of their head."""
        self._with_card = self._with_head = np.zeros(len(self), bool)
        self._with_card = find_repeated([self.image_id(index) for index in range(len(self))])
        repeated = find_repeated([self.image_id(index) for index in range(len(self))])
        self._with_head = repeated & self._with_card


def find_repeated(ids: Sequence[int | str]) -> NDArray[np.bool_]:
    """Return which ids occur more than once, bool [N]. 7 and "7" are equal, as in files of predictions.

    Example:
        >>> from visionkit.data.multi.joined import find_repeated
        >>> find_repeated([7, "a", "7"]).tolist()
        [True, False, True]
    """
    names = [str(image_id) for image_id in ids]
    counts = Counter(names)
    return np.array([counts[name] > 1 for name in names], bool)


def _report(sources: Sequence[HeadSource]) -> dict[str, int]:
    report: dict[str, int] = {}
    for source in sources:
        if not len(source.dataset):
            continue
        for reason, count in source.dataset.report.items():
            name = f"{source.card}: {reason}"
            report[name] = max(count, report.get(name, 0))
    return report


def _preferred(sources: Sequence[HeadSource], kind: AnnotationKind) -> list[int]:
    """Return the numbers of the sources with a kind of annotation, those whose objects have masks first."""
    numbers = [number for number, source in enumerate(sources) if source.kind == kind]
    return sorted(numbers, key=lambda number: not _has_masks(sources[number].dataset))


def _has_masks(dataset: VisionDataset) -> bool:
    return len(dataset) > 0 and dataset.annotation(0).masks is not None


def _items(sources: Sequence[HeadSource], joinable: Callable[[str, str], bool]) -> Rows:
    """Return the index of each item's image in each source, int64 [N, sources]; -1 if the source is not part of it."""
    images = _images(sources)
    patterns, pattern_of = np.unique(images >= 0, axis=0, return_inverse=True)
    rows, owners = [np.zeros((0, len(sources)), np.int64)], [np.zeros(0, np.int64)]
    for number, pattern in enumerate(patterns):
        own = np.flatnonzero(pattern_of.reshape(-1) == number)
        for part in _parts([*np.flatnonzero(pattern)], sources, joinable):
            rows.append(np.where(np.isin(np.arange(len(sources)), part), images[own], -1))
            owners.append(own)
    order = np.argsort(np.concatenate(owners), kind="stable")
    return np.concatenate(rows)[order]


def _images(sources: Sequence[HeadSource]) -> Rows:
    """Return the index of each image in each source, int64 [images, sources]; -1 if the source does not have it."""
    numbers: dict[Hashable, int] = {}
    places = [
        np.array([numbers.setdefault(key, len(numbers)) for key in _keys(source, position)], np.int64)
        for position, source in enumerate(sources)
    ]
    images = np.full((len(numbers), len(sources)), -1, np.int64)
    for position, place in enumerate(places):
        images[place, position] = np.arange(len(place))
    return images


def _keys(source: HeadSource, position: int) -> Iterator[Hashable]:
    """Yield what identifies each image, which no other image of the source has."""
    dataset, files, met = source.dataset, image_files(source.dataset), Counter[str]()
    without_file = [dataset.image_id(index) for index, file in enumerate(files) if file is None]
    counts = Counter(without_file)
    ids = iter(without_file)
    for index, file in enumerate(files):
        if file is not None:
            yield file, met[file]
            met[file] += 1
        elif counts[image_id := next(ids)] == 1:
            yield source.card, image_id, "id"
        else:  # it cannot be told which of the images with this id another source has
            yield position, index, "place"


def _parts(
    numbers: Sequence[int], sources: Sequence[HeadSource], joinable: Callable[[str, str], bool]
) -> list[list[int]]:
    """Return the sources of one image, by item."""
    parts: list[list[int]] = []
    for number in numbers:
        fitting = (part for part in parts if all(_fit(sources[number], sources[other], joinable) for other in part))
        part = next(fitting, None)
        if part is None:
            parts.append([number])
        else:
            part.append(number)
    return parts


def _fit(one: HeadSource, other: HeadSource, joinable: Callable[[str, str], bool]) -> bool:
    """Return whether an image of two sources can be one item."""
    if one.card == other.card:
        return one.kind != other.kind or one.dataset.class_names == other.dataset.class_names
    return one.kind != other.kind and joinable(one.card, other.card)


def _groups(found: NDArray[np.bool_], cards: Sequence[str]) -> tuple[NDArray[np.int64], list[str]]:
    """Return the number of the set of cards of each item, in order of appearance, and the names of the sets.

    Args:
        found: bool [N, sources], whether an item has an image of a source.
        cards: card of each source.
    """
    names = list(dict.fromkeys(cards))
    of_card = np.array([[card == name for card in cards] for name in names])
    sets, first, numbers = np.unique(found @ of_card.T, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    groups = np.argsort(order)[numbers.reshape(-1)].astype(np.int64)
    return groups, ["+".join(name for name, has in zip(names, sets[row], strict=True) if has) for row in order]
