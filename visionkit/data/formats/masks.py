"""Pictures and masks in folders, or in a list: index, palette and colour masks; CamVid's layout among others."""

from collections import Counter
from pathlib import Path
from typing import Any

from visionkit.data.bad_files import BadFiles
from visionkit.data.formats.registry import formats
from visionkit.data.holdout import block_fold
from visionkit.data.mask_classes import class_names_of, colour_meanings, first_colours, value_ids, value_meanings
from visionkit.data.masks import MaskCoding, palette_colours
from visionkit.data.pairs import Pairs, Side, pairs_by_name, pairs_in_list
from visionkit.data.paths import existing_folder
from visionkit.data.sample import Colour
from visionkit.data.semantic import MaskFiles
from visionkit.errors import DataError, RecipeError


@formats.register("masks")
class Masks(MaskFiles):
    """A mask file for each picture: of the same name in another folder, or beside it in a list.

    A mask's values stay as stored, also those of a palette; a mask in colours is read by `colours`. A value or colour
    that the card gives no meaning is an error, 255 like any other.

    Args:
        root: folder of the data set.
        pictures, masks: folders below `root`, searched to any depth; "" is `root` itself.
        picture_suffix, mask_suffix: how the file names end ("_image.png", "_labels.png"); what comes before is
            equal for a picture and its mask. "" takes every picture whatever its ending.
        list_file: below `root`, one "picture mask" a line, relative to `pictures` and `masks`, in the order that the
            set is to have; or one name a line, to which the suffixes are added. None takes all files there are.
        values: class name, or `ignore`, by stored value ({0: membrane, 255: cell}). Where it names no class
            ({11: ignore}), value k is class k.
        colours: colour [r, g, b] by class name or `ignore`, or a list of colours; for masks in colours, and to
            draw with.
        classes: class names in label order; None takes them from `values` or `colours`.
        folds: blocks of neighbours to split the pictures into for cross-validation; None does not.
        fold: which block is held out, from 0.
        held_out: whether this split is that block, or all the others.
        on_bad_file: raise when a file that cannot be read is asked for, or skip: read all files once at opening,
            leave out and count those that cannot be.

    Raises:
        DataError: files or their counterparts are missing.
        RecipeError: the options contradict each other.
    """

    def __init__(
        self,
        root: Path | None,
        pictures: str = "",
        masks: str = "",
        picture_suffix: str = "",
        mask_suffix: str = "",
        list_file: str | None = None,
        values: dict[int, str] | None = None,
        colours: dict[str, list[Any]] | None = None,
        classes: list[str] | None = None,
        folds: int | None = None,
        fold: int = 0,
        held_out: bool = False,
        on_bad_file: BadFiles = "raise",
    ) -> None:
        top = existing_folder(root, "the masks format")
        picture_side = Side(existing_folder(top / pictures, "the masks format"), picture_suffix)
        mask_side = Side(existing_folder(top / masks, "the masks format"), mask_suffix)
        class_names = class_names_of(values, colours, classes)
        by_value = value_meanings(values, class_names)
        by_colour = None if colours is None else colour_meanings(colours, class_names)
        report: Counter[str] = Counter()
        if list_file is not None:
            pairs = pairs_in_list(top / list_file, picture_side, mask_side)
        else:
            _refuse_one_side(picture_side, mask_side)
            pairs = pairs_by_name(picture_side, mask_side, report)
        pairs = pairs.chosen(block_fold(len(pairs), folds, fold, held_out))
        super().__init__(pairs, MaskCoding(by_value, by_colour), on_bad_file, report)
        ids = value_ids(by_value, len(class_names))
        drawn = first_colours(by_colour, len(class_names)) if by_colour else _palette(pairs, ids)
        self.name_classes(class_names, ids, drawn)


def _refuse_one_side(pictures: Side, masks: Side) -> None:
    if pictures == masks:
        raise RecipeError(
            f"masks: pictures and masks both lie in {pictures.folder} and end alike\n"
            "say in which folders (pictures, masks), or how their names end (picture_suffix, mask_suffix)"
        )


def _palette(pairs: Pairs, ids: list[int]) -> list[Colour] | None:
    """Colours of the classes from the palette of the first mask, where it has one."""
    try:
        palette = palette_colours(pairs.mask_folder / pairs.masks[0])
    except DataError:  # a broken file is told of by whoever wants its mask
        return None
    return [palette[value] for value in ids] if palette is not None and max(ids) < len(palette) else None
