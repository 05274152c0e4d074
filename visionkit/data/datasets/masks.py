"""Images and masks in folders, or in a list: index, palette and color masks; CamVid's layout among others."""

from collections import Counter
from pathlib import Path
from typing import Any

from visionkit.data.datasets.base import formats
from visionkit.data.datasets.image_mask_pairs import Pairs, Side, pairs_by_name, pairs_in_list
from visionkit.data.datasets.mask_classes import class_names_of, color_meanings, first_colors, value_ids, value_meanings
from visionkit.data.datasets.segmentation import SegmentationFiles
from visionkit.data.holdout import block_fold
from visionkit.data.io.bad_files import BadFiles
from visionkit.data.io.masks import MaskCoding, palette_colors
from visionkit.data.io.paths import existing_folder
from visionkit.errors import ConfigError, DataError
from visionkit.structures import Color


@formats.register("masks")
class Masks(SegmentationFiles):
    """A mask file for each image: of the same name in another folder, or beside it in a list.

    A mask's values stay as stored, also those of a palette; a mask in colors is read by `colors`. A value or color
    that the card gives no meaning is an error, 255 like any other.

    Args:
        root: folder of the data set.
        images, masks: folders below `root`, searched to any depth; "" is `root` itself.
        image_suffix, mask_suffix: how the file names end ("_image.png", "_labels.png"); what comes before is
            equal for an image and its mask. "" takes every image whatever its ending.
        list_file: below `root`, one "image mask" a line, relative to `images` and `masks`, in the order that the
            set is to have; or one name a line, to which the suffixes are added. None takes all files there are.
        values: class name, or `ignore`, by stored value ({0: membrane, 255: cell}). Where it names no class
            ({11: ignore}), value k is class k.
        colors: color [r, g, b] by class name or `ignore`, or a list of colors; for masks in colors, and to
            draw with.
        classes: class names in label order; None takes them from `values` or `colors`.
        folds: blocks of neighbors to split the images into for cross-validation; None does not.
        fold: which block is held out, from 0.
        held_out: whether this split is that block, or all the others.
        on_bad_file: raise when a file that cannot be read is asked for, or skip: read all files once at opening,
            leave out and count those that cannot be.

    Raises:
        DataError: files or their counterparts are missing.
        ConfigError: the options contradict each other.
    """

    def __init__(
        self,
        root: Path | None,
        images: str = "",
        masks: str = "",
        image_suffix: str = "",
        mask_suffix: str = "",
        list_file: str | None = None,
        values: dict[int, str] | None = None,
        colors: dict[str, list[Any]] | None = None,
        classes: list[str] | None = None,
        folds: int | None = None,
        fold: int = 0,
        held_out: bool = False,
        on_bad_file: BadFiles = "raise",
    ) -> None:
        top = existing_folder(root, "the masks format")
        image_side = Side(existing_folder(top / images, "the masks format"), image_suffix)
        mask_side = Side(existing_folder(top / masks, "the masks format"), mask_suffix)
        class_names = class_names_of(values, colors, classes)
        by_value = value_meanings(values, class_names)
        by_color = None if colors is None else color_meanings(colors, class_names)
        report: Counter[str] = Counter()
        if list_file is not None:
            pairs = pairs_in_list(top / list_file, image_side, mask_side)
        else:
            _refuse_one_side(image_side, mask_side)
            pairs = pairs_by_name(image_side, mask_side, report)
        pairs = pairs.chosen(block_fold(len(pairs), folds, fold, held_out))
        super().__init__(pairs, MaskCoding(by_value, by_color), on_bad_file, report)
        ids = value_ids(by_value, len(class_names))
        drawn = first_colors(by_color, len(class_names)) if by_color else _palette(pairs, ids)
        self.name_classes(class_names, ids, drawn)


def _refuse_one_side(images: Side, masks: Side) -> None:
    if images == masks:
        raise ConfigError(
            f"masks: images and masks both lie in {images.folder} and end alike\n"
            "say in which folders (images, masks), or how their names end (image_suffix, mask_suffix)"
        )


def _palette(pairs: Pairs, ids: list[int]) -> list[Color] | None:
    """Colors of the classes from the palette of the first mask, where it has one."""
    try:
        palette = palette_colors(pairs.mask_folder / pairs.masks[0])
    except DataError:  # a broken file is told of by whoever wants its mask
        return None
    return [palette[value] for value in ids] if palette is not None and max(ids) < len(palette) else None
