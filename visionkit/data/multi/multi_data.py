"""The Lightning datamodule of a model of several heads."""

from collections.abc import Iterator, Mapping

from visionkit.data.datamodule import VisionData
from visionkit.data.datasets.base import AnnotationKind, RequiredAnnotation, VisionDataset
from visionkit.data.multi.joined import JoinedDataset
from visionkit.data.multi.multi_augmentation import MultiAugmentation
from visionkit.data.multi.multi_splits import MultiSplits
from visionkit.data.multi.sampling import MultiSampler, MultiSampling, check_sampling
from visionkit.data.proposals.proposal_source import ProposalOptions
from visionkit.data.samplers import TrainingSampler
from visionkit.data.transforms.augmentation import Augmentation
from visionkit.errors import ConfigError
from visionkit.registry import suggest

Sources = Mapping[str, Mapping[str, VisionData]]
"""The data of each head: its cards by name."""

REQUIRED: dict[AnnotationKind, tuple[RequiredAnnotation | None, ...]] = {
    "boxes": (None, "masks"),
    "label": ("label",),
    "tags": ("tags",),
    "semantic": ("semantic",),
}
"""Values of `required` with which the data of a head of each kind can be made."""


class MultiData(VisionData):
    """LightningDataModule of a model of several heads, from several data cards at once.

    Each card has labels for some of the heads. An image contributes to the heads that it has labels for
    (`target["heads"]`). An image with labels of several heads is one item, see `JoinedDataset`. An image is augmented
    as its card says. The images of a packed card are read in random order, like those of other formats.

    Args:
        sources: data of each head by the name of the card, made with the annotation that the head requires
            (`required`). A card of several heads has the same name in each. Batch size and workers of the cards are not
            used.
        kinds: annotation that each head is trained with: boxes, label, tags or semantic.
        batch_size: images per process and step.
        num_workers: worker processes of each DataLoader; None takes one per core, at most four.
        sampling: how often the images of each card are drawn, see `MultiSampler`. Images that come from the same cards
            are a group.
        temperature: T of `sampling="temperature"`, at least 1.

    Raises:
        ConfigError: a head has no card or kind, or its data were made for another annotation; a card has
            `sampling: balanced`, or another augmentation in another head; the cards have different bit depths, or
            different proposals; or an option is out of its range.

    Example:
        >>> import visionkit as vk
        >>> splits = {"train": {"count": 8, "size": 64}, "val": {"count": 4, "size": 64, "split": "val"}}
        >>> sources = {
        ...     "objects": {"shapes": vk.VisionData("shapes", splits=splits)},
        ...     "tags": {"shapes": vk.VisionData("shapes", splits=splits, required="tags")},
        ... }
        >>> data = vk.MultiData(sources, {"objects": "boxes", "tags": "tags"}, batch_size=4, num_workers=0)
        >>> batch = next(iter(data.val_dataloader()))
        >>> batch.targets[0]["heads"], batch.image_ids
        (('objects', 'tags'), [0, 1, 2, 3])
    """

    splits: MultiSplits
    augmentation: MultiAugmentation

    def __init__(
        self,
        sources: Sources,
        kinds: Mapping[str, AnnotationKind],
        batch_size: int = 2,
        num_workers: int | None = None,
        sampling: MultiSampling = "proportional",
        temperature: float = 2.0,
    ) -> None:
        super().__init__("several cards", batch_size=batch_size, num_workers=num_workers)
        check_sampling(sampling, temperature)
        _check_heads(sources, kinds)
        self.sources, self.group_sampling, self.temperature = sources, sampling, temperature
        self.augmentation = MultiAugmentation(_augmentations(sources))
        self.proposal_options = _common_proposals(sources, kinds)
        splits = {head: {card: data.splits for card, data in cards.items()} for head, cards in sources.items()}
        self.splits = MultiSplits(splits, kinds, self._have_same_augmentation)
        self._of_head: dict[str, VisionData] = {}

    @property
    def heads(self) -> list[str]:
        """Names of the heads."""
        return [*self.sources]

    def cards_of(self, head: str) -> list[str]:
        """Return the names of a head's cards.

        Raises:
            ConfigError: there is no such head.
        """
        return [*self._cards(head)]

    def heads_of_card(self, card: str) -> list[str]:
        """Return the names of the heads that a card has labels for.

        Raises:
            ConfigError: there is no such card.
        """
        found = [head for head, cards in self.sources.items() if card in cards]
        if not found:
            raise ConfigError(f"there is no data card {card!r}{suggest(card, self.augmentation.of_card)}")
        return found

    def heads_of_images(self, card: str) -> list[str]:
        """Return the heads that the training images which are augmented as a card have labels for."""
        images = self.dataset("train")
        assert isinstance(images, JoinedDataset)
        return images.heads_of_images(card)

    def of_head(self, head: str) -> VisionData:
        """Return the data of one head, with its own classes: those of its card, or of all its cards together.

        Raises:
            ConfigError: there is no such head.
        """
        cards = self._cards(head)
        if len(cards) == 1:
            return next(iter(cards.values()))
        if head not in self._of_head:
            data = VisionData("several cards", batch_size=self.batch_size, num_workers=self.num_workers)
            data.splits = self.splits.of_head(head)
            self._of_head[head] = data
        return self._of_head[head]

    def _cards(self, head: str) -> Mapping[str, VisionData]:
        if head not in self.sources:
            raise ConfigError(f"the data have no head {head!r}{suggest(head, self.sources)}")
        return self.sources[head]

    def _have_same_augmentation(self, card: str, other: str) -> bool:
        of_card = self.augmentation.of_card
        return of_card[card].settings == of_card[other].settings

    def _training_sampler(self, images: VisionDataset) -> TrainingSampler:
        assert isinstance(images, JoinedDataset)
        place = self._place()
        return MultiSampler(images.groups, self.group_sampling, self.temperature, place.rank, place.processes)


def _each(sources: Sources) -> Iterator[tuple[str, str, VisionData]]:
    """Yield each head with each of its cards and the card's data."""
    for head, cards in sources.items():
        for card, data in cards.items():
            yield head, card, data


def _check_heads(sources: Sources, kinds: Mapping[str, AnnotationKind]) -> None:
    """Raise ConfigError if there is no head, or a head cannot be trained with its cards."""
    if not sources:
        raise ConfigError("the data of several heads need at least one head: sources={'objects': {'card': ...}}")
    for head, cards in sources.items():
        if not cards:
            raise ConfigError(f"head {head} has no data card: give it one that has its labels, or remove the head")
        if kinds.get(head) not in REQUIRED:
            raise ConfigError(f"kinds[{head!r}]={kinds.get(head)!r} must be one of {', '.join(REQUIRED)}")
    for head, card, data in _each(sources):
        if data.splits.required not in (allowed := REQUIRED[kinds[head]]):
            raise ConfigError(
                f"head {head}: the data of the card {card} are made with required={data.splits.required!r}\n"
                f"{kinds[head]} need {' or '.join(f'required={value!r}' for value in allowed)}"
            )
        if data.sampling != "shuffled":
            raise ConfigError(
                f"the card {card} has data.sampling: {data.sampling}, which is for one card with one class per image\n"
                "remove it; the sampling of several cards is proportional, temperature or round_robin"
            )


def _augmentations(sources: Sources) -> dict[str, Augmentation]:
    """Return the augmentation of each card.

    Raises:
        ConfigError: a card has different ones in two heads.
    """
    first: dict[str, tuple[str, Augmentation]] = {}
    for head, card, data in _each(sources):
        other, augmentation = first.setdefault(card, (head, data.augmentation))
        if data.augmentation.settings != augmentation.settings:
            raise ConfigError(
                f"the card {card} has different augmentations in the heads {other} and {head}\n"
                "an image is augmented once for all its heads: set the same augment in both"
            )
    return {card: augmentation for card, (_, augmentation) in first.items()}


def _common_proposals(sources: Sources, kinds: Mapping[str, AnnotationKind]) -> ProposalOptions | None:
    """Return the options of proposals, which are made for all images.

    Raises:
        ConfigError: the cards of the heads with boxes have different ones, or only other cards have any.
    """
    options = {card: data.proposal_options for head, card, data in _each(sources) if kinds[head] == "boxes"}
    for _, card, data in _each(sources):
        if card not in options and data.proposal_options is not None:
            raise ConfigError(f"the card {card} has data.proposals, which only heads with boxes use: remove them")
    first = next(iter(options), None)
    for card, own in options.items():
        if first is not None and own != options[first]:
            raise ConfigError(
                f"the cards {first} and {card} have different data.proposals: set the same in all cards with boxes"
            )
    return None if first is None else options[first]
