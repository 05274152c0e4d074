"""`visionkit data pack`: a dataset in shards."""

from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from visionkit.cli.config.build import build_data
from visionkit.cli.conversion import open_with_masks
from visionkit.cli.logs import show_progress_messages
from visionkit.data.export.convert import CARD
from visionkit.data.io.atomic_folder import check_new
from visionkit.data.packed.index import PackedIndex
from visionkit.data.packed.writer import PackOptions, pack


def pack_card(recipe: dict[str, Any], *, out: str, split: str | None = None, **options: int) -> int:
    """Write the dataset of a card into shards, with a data card, and print what was written.

    Args:
        recipe: the composed card.
        out: folder of the result, which must not exist or be empty.
        split: split to write; None writes all.
        options: see `PackOptions`.
    """
    show_progress_messages()
    folder, workers = Path(out), build_data(recipe).num_workers
    check_new(folder)
    chosen = PackOptions(**options, workers=workers)
    datasets = open_with_masks(recipe, split)
    for name, dataset in datasets.items():
        for reason, count in dataset.report.items():
            Console().print(f"{name}: {reason}: {count}", soft_wrap=True, markup=False)
    data = {"format": "packed", "root": str(folder), "splits": {name: {"split": name} for name in datasets}}
    if recipe["data"].get("bit_depth") is not None:
        data["bit_depth"] = recipe["data"]["bit_depth"]
    card = yaml.safe_dump({"data": data}, sort_keys=False, allow_unicode=True)
    index = pack(datasets, folder, chosen, {CARD: card})
    for line in _lines(index, folder):
        Console().print(line, soft_wrap=True, markup=False, highlight=False)
    return 0


def _lines(index: PackedIndex, folder: Path) -> list[str]:
    lines = []
    for name, split in index.splits.items():
        size = sum(shard.bytes for shard in split.shards)
        tables = sum(table.bytes for table in split.tables.values())
        lines.append(
            f"{name}: {split.images} images with {split.objects} objects in {len(split.shards)} shards, "
            f"{size / 1e6:.1f} MB, and tables of {tables / 1e6:.1f} MB"
        )
    card = folder / CARD
    return [
        *lines,
        f"train from it: visionkit fit RECIPE {card}",
        f"elsewhere: visionkit fit RECIPE {card} data.root=URL",
    ]
