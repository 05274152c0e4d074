"""The `masks` format: image files and semantic mask files in folders or in a list, such as CamVid."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from visionkit.data.datasets.base import formats
from visionkit.data.datasets.base_segmentation import SegmentationFileDataset, check_mask_classes
from visionkit.data.datasets.image_mask_pairs import FilePattern, ImageMaskPairs, pair_by_list, pair_by_name
from visionkit.data.datasets.mask_classes import (
    classes_by_color,
    classes_by_value,
    first_colors,
    first_values,
    resolve_class_names,
)
from visionkit.data.datasets.recognition import FolderListing, Recognized, best_match, by_split, parent_of
from visionkit.data.holdout import block_fold
from visionkit.data.io.bad_files import BadFilePolicy
from visionkit.data.io.masks import MaskDecoder, read_mask, read_palette
from visionkit.data.io.paths import require_folder
from visionkit.errors import ConfigError, DataError
from visionkit.ops.ignore import IGNORE
from visionkit.structures import Color

MASK_WORDS = re.compile(r"mask|label|annot|segm|(^|[^a-z])gt([^a-z]|$)", re.IGNORECASE)
"""Words in the names of folders of masks."""

MASKS_READ = 50
"""Number of masks whose values are read to recognize a folder."""

MAX_RECOGNIZED = 64
"""Largest number of values in recognized masks. More are probably gray images."""


def recognize_masks(listing: FolderListing) -> Recognized | None:
    """Return the splits of a folder whose image folders have a folder of masks with the same file names each.

    A folder of masks has "mask", "label", "annot", "gt" or "seg" in its name. The classes are the values in the first
    masks, or are those of their colors.
    """
    stems = {folder: set[str]() for folder in listing.image_folders}
    for name in listing.images:
        stems[parent_of(name)].add(PurePosixPath(name).stem)
    mask_folders = {folder for folder in stems if MASK_WORDS.search(folder)}
    candidates = {
        images: [masks for masks in sorted(mask_folders) if stems[images] <= stems[masks]]
        for images in stems.keys() - mask_folders
    }
    pairs = {images: best_match(images, masks) for images, masks in candidates.items() if masks}
    if not pairs:
        return None
    splits: dict[str, dict[str, Any]] = {}
    for split, folders in by_split(sorted(pairs)).items():
        splits[split] = {"images": folders[0], "masks": pairs[folders[0]]}
    masks = [name for name in listing.images if parent_of(name) in pairs.values()]
    values = _values(listing.folder, masks[:: max(len(masks) // MASKS_READ, 1)])
    if values is None:
        return Recognized({}, notes=["the masks have colors; write a card with `colors`, see data/masks_template.yaml"])
    named = {value: "ignore" if value == IGNORE and len(values) > 2 else f"class_{value}" for value in values}
    note = f"values {', '.join(map(str, values))} found in {MASKS_READ} masks or less; name the classes in `values`"
    return Recognized({split: {**options, "values": named} for split, options in splits.items()}, notes=[note])


def _values(folder: Path, names: Sequence[str]) -> list[int] | None:
    """Return the values in masks in ascending order; None if a mask has colors or cannot be read."""
    found: set[int] = set()
    for name in names:
        try:
            mask = read_mask(folder / name)
        except DataError:
            return None
        if mask.ndim > 2:
            return None
        found |= set(np.unique(mask).tolist())
    return sorted(found) if len(found) <= MAX_RECOGNIZED else None


@formats.register("masks", recognize=recognize_masks)
class MaskDataset(SegmentationFileDataset):
    """Images with a semantic mask file each, which has the same name in another folder, or is listed with the image.

    Gray and palette masks are read by their stored values, RGB masks by `colors`. A value or color without a class is
    an error; 255 is no exception.

    Args:
        root: folder of the dataset.
        images, masks: folders relative to `root`, searched at any depth; "" is `root` itself.
        image_suffix, mask_suffix: endings of the file names ("_image.png", "_labels.png"); the part before is the
            same for an image and its mask. "" matches all image files.
        list_file: text file relative to `root` with one "image mask" per line, relative to `images` and `masks`; or
            with one name per line, to which the suffixes are appended. None takes all files.
        values: class name, or `ignore`, by stored value ({0: membrane, 255: cell}). If it has no class
            ({11: ignore}), value k is class k.
        colors: color [r, g, b], or a list of colors, by class name or `ignore`; for RGB masks and for drawing.
        classes: class names in label order; None takes them from `values` or `colors`.
        folds: number of blocks of consecutive images for cross-validation; None does not split.
        fold: index of the held-out block, from 0.
        held_out: whether this split is the held-out block, or all others.
        on_bad_file: raise an error for unreadable files, or skip them. skip reads every file once at the start.

    Raises:
        DataError: files are missing, or have no counterpart.
        ConfigError: the options contradict each other.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> from visionkit.data.datasets.masks import MaskDataset
        >>> folder = Path(tempfile.mkdtemp())
        >>> for name, mode in (("images", "RGB"), ("masks", "L")):
        ...     (folder / name).mkdir()
        ...     Image.new(mode, (8, 6)).save(folder / name / "a.png")
        >>> dataset = MaskDataset(folder, "images", "masks", classes=["road", "sky"])
        >>> dataset[0].semantic.shape
        (6, 8)
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
        on_bad_file: BadFilePolicy = "raise",
    ) -> None:
        top = require_folder(root, "the masks format")
        image_pattern = FilePattern(require_folder(top / images, "the masks format"), image_suffix)
        mask_pattern = FilePattern(require_folder(top / masks, "the masks format"), mask_suffix)
        class_names = resolve_class_names(values, colors, classes)
        check_mask_classes(class_names)
        by_value = classes_by_value(values, class_names)
        by_color = None if colors is None else classes_by_color(colors, class_names)
        report: Counter[str] = Counter()
        if list_file is not None:
            pairs = pair_by_list(top / list_file, image_pattern, mask_pattern)
        else:
            _check_different_patterns(image_pattern, mask_pattern)
            pairs = pair_by_name(image_pattern, mask_pattern, report)
        pairs = pairs.select(block_fold(len(pairs), folds, fold, held_out))
        super().__init__(pairs, MaskDecoder(by_value, by_color), on_bad_file, report)
        ids = first_values(by_value, len(class_names))
        drawing = first_colors(by_color, len(class_names)) if by_color else _palette(pairs, ids)
        self.set_classes(class_names, ids, drawing)


def _check_different_patterns(images: FilePattern, masks: FilePattern) -> None:
    if images == masks:
        raise ConfigError(
            f"masks: images and masks have the same folder {images.folder} and the same ending\n"
            "set different folders (images, masks) or different endings (image_suffix, mask_suffix)"
        )


def _palette(pairs: ImageMaskPairs, ids: list[int]) -> list[Color] | None:
    """Return the colors of the classes from the palette of the first mask; None if it has no palette."""
    try:
        palette = read_palette(pairs.mask_folder / pairs.masks[0])
    except DataError:  # a broken file is reported when its mask is read
        return None
    return [palette[value] for value in ids] if palette is not None and max(ids) < len(palette) else None
