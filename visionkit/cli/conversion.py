"""`visionkit data convert`: a dataset in another format."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from visionkit.cli.config.build import build_data, with_split_options
from visionkit.cli.logs import show_progress_messages
from visionkit.data.datasets.base import VisionDataset, formats
from visionkit.data.export.base import writers
from visionkit.data.export.compare import Row, compare
from visionkit.data.export.convert import CARD, convert, plan_splits
from visionkit.data.export.losses import DESCRIPTIONS, count_losses
from visionkit.data.io.atomic_folder import check_new
from visionkit.errors import ConfigError, DataError


def convert_card(
    recipe: dict[str, Any], *, to: str, out: str, split: str | None = None, check: bool = False, link: bool = False
) -> int:
    """Write the dataset of a card in another format, after listing what that format cannot hold.

    Args:
        recipe: the composed card.
        to: name of the format.
        out: folder of the result, which must not exist or be empty.
        split: split to write; None writes all.
        check: read the result, and print a comparison with the source.
        link: make hard links to the image files instead of copies.

    Returns:
        0, or 1 if the comparison found differences.
    """
    show_progress_messages()
    writer, folder = writers.get(to), Path(out)
    if check and writer.format not in formats:
        raise ConfigError(f"--check: the format {to} cannot be read here\nconvert without --check")
    check_new(folder)
    plans = plan_splits(open_with_masks(recipe, split), writer)
    for line in _lines_of_losses(count_losses(plans, writer)):
        Console().print(line, soft_wrap=True, markup=False)
    converted = convert(plans, writer, folder, link)
    images = sum(len(plan.names) for plan in plans)
    Console().print(f"{images} images in {len(plans)} splits: {folder}", soft_wrap=True, markup=False)
    if writer.format in formats:
        Console().print(f"its data card: {folder / CARD}", soft_wrap=True, markup=False)
    if not check:
        return 0
    tables = compare(plans, writer, converted)
    for name, rows in tables.items():
        Console().print(_table(name, rows))
    return 0 if all(row.agrees for rows in tables.values() for row in rows) else 1


def open_with_masks(recipe: dict[str, Any], split: str | None) -> dict[str, VisionDataset]:
    """Return the splits of a card, or one of them, with masks if the format and the files have them."""
    data = recipe["data"]
    with_masks = formats.options_for(data["format"], "masks")
    if with_masks:
        try:
            return _open_splits(with_split_options(recipe, with_masks), split)
        except (DataError, ConfigError) as error:
            boxes = _open_splits(recipe, split)  # raises if the error is not about masks
            text = f"boxes only, because the masks of objects cannot be read: {error}"
            Console(stderr=True).print(text, soft_wrap=True, markup=False)
            return boxes
    return _open_splits(recipe, split)


def _open_splits(recipe: dict[str, Any], split: str | None) -> dict[str, VisionDataset]:
    data = build_data(recipe)
    return {name: data.dataset(name) for name in ([split] if split else data.splits)}


def _lines_of_losses(losses: Mapping[Any, int]) -> list[str]:
    lines = [f"  {losses[feature]} {text}" for feature, text in DESCRIPTIONS.items() if losses.get(feature)]
    return ["the format cannot hold everything:", *lines] if lines else ["the format holds everything"]


def _table(split: str, rows: Sequence[Row]) -> Table:
    table = Table(title=split, title_justify="left")
    for column in ("compared", "source", "read back", "result"):
        table.add_column(column)
    for row in rows:
        table.add_row(row.quantity, row.source, row.result, "agrees" if row.agrees else "DIFFERS")
    return table
