"""Actions of `visionkit data` on a card: check, audit, show, download, convert, pack, proposals and anchors."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.progress import track

from visionkit.cli.logs import show_progress_messages
from visionkit.errors import ConfigError


def init(folder: str, format: str | None) -> int:
    """Print the card of a folder, and to stderr what was assumed."""
    from visionkit.data.folder_card import card_of_folder

    card = card_of_folder(Path(folder), format)
    print(f"# Data card of {folder}; check it: visionkit data check <this file>")
    print(yaml.safe_dump(card.values, sort_keys=False, allow_unicode=True), end="")
    print(f"format: {card.values['data']['format']}", *card.notes, sep="\n  ", file=sys.stderr)
    return 0


def check(recipe: dict[str, Any]) -> int:
    """Read every split of a card, and print a report. Return 1 if images are missing or broken."""
    from visionkit.cli.config.build import build_data
    from visionkit.data.stats.check import check as check_dataset

    show_progress_messages()
    data = build_data(recipe)
    broken = 0
    for split in data.splits:
        report = check_dataset(data.dataset(split), data.bit_depth)
        Console().print(split, style="bold", markup=False)
        for line in report.lines():
            Console().print(f"  {line}", soft_wrap=True, markup=False)
        broken += len(report.problems)
    return 1 if broken else 0


def show(
    recipe: dict[str, Any],
    *,
    output: str = "data.html",
    augment: bool = False,
    count: int | None = None,
    split: str | None = None,
) -> int:
    """Write an HTML page with images, objects and statistics of a card.

    Args:
        recipe: the composed card, with a recipe if its augmentation is shown.
        output: HTML file to write.
        augment: also show training images after augmentation.
        count: number of images of each split; None takes the page's default.
        split: split to show; None shows all splits.
    """
    from visionkit.cli.config.build import build_data
    from visionkit.report.data_page import IMAGES_PER_SPLIT, write_data_page

    show_progress_messages()
    root, path = recipe["data"].get("root"), Path(output)
    title = Path(root).resolve().name if root else recipe["data"]["format"]
    splits = [split] if split else None
    shown = IMAGES_PER_SPLIT if count is None else count
    write_data_page(build_data(recipe), path, title, splits, shown, augment)
    size = f"{path.stat().st_size / 1e6:.1f} MB"
    Console().print(f"{path} ({size}): open it in a browser", soft_wrap=True, markup=False, highlight=False)
    return 0


def proposals(recipe: dict[str, Any], *, mode: str | None = None, split: str | None = None) -> int:
    """Compute proposals for the images of a card, store them for training, and print their recall.

    Args:
        recipe: the composed card.
        mode: mode of selective search, which replaces that of the card.
        split: split to process; None processes all splits.
    """
    from visionkit.cli.config.build import build_data
    from visionkit.data.proposals.recall_report import measure_proposals, summarize_proposals

    show_progress_messages()
    given = recipe["data"].get("proposals") or {}
    recipe["data"]["proposals"] = {**given, **({"mode": mode} if mode else {})}
    data = build_data(recipe)
    source = data.proposals()
    assert source is not None
    for name in [split] if split else data.splits:
        dataset = data.dataset(name)
        found = list(track(measure_proposals(dataset, source, data.num_workers), description=name, total=len(dataset)))
        Console().print(name, style="bold", markup=False)
        for line in summarize_proposals(found).lines():
            Console().print(f"  {line}", soft_wrap=True, markup=False)
    return 0


def anchors(recipe: dict[str, Any], *, count: int = 5, size: int = 416) -> int:
    """Print the anchor shapes that best fit the objects of the training split, as a line of a recipe.

    Args:
        recipe: the composed card.
        count: number of anchors.
        size: height and width in pixels of the model's input; images are resized to it by "letterbox".

    Raises:
        ConfigError: there are fewer objects than anchors, or the size is below 1.
    """
    from visionkit.cli.config.build import build_data
    from visionkit.data.stats.object_sizes import object_sizes
    from visionkit.ops.anchor_clusters import cluster_shapes
    from visionkit.preprocessing.geometry import letterbox

    show_progress_messages()
    if size < 1 or count < 1:
        raise ConfigError(f"--count {count} and --size {size} must be at least 1")
    sizes = object_sizes(
        build_data(recipe).dataset("train"), lambda height, width: letterbox(height, width, size, size)
    )
    if len(sizes) < count:
        raise ConfigError(f"the training split has {len(sizes)} objects, too few for {count} anchors")
    Console().print(f"{len(sizes)} objects of the training split, in pixels of an input of {size} x {size}")
    for number in range(1, count + 1):
        found = cluster_shapes(sizes, number)
        Console().print(f"{number:>3} anchors: mean IoU {found.mean_iou:.3f}")
    pairs = ", ".join(f"[{width:.1f}, {height:.1f}]" for width, height in found.shapes.tolist())
    line = f"for: {{yolov2: {{model: {{anchor_shapes: [{pairs}]}}}}}}"
    Console().print(line, soft_wrap=True, markup=False, highlight=False)
    return 0


def download(recipe: dict[str, Any]) -> int:
    """Download, verify and unpack the files that a card lists."""
    from visionkit.data.io.download import download as fetch

    show_progress_messages()
    data = recipe["data"]
    if not data.get("download") or not data.get("root"):
        raise ConfigError("this card has nothing to download (data.download and data.root)")
    if not isinstance(data["root"], str) or not isinstance(data["download"], list):
        raise ConfigError("data.root must be the path of a folder, and data.download a list of files")
    fetch(data["download"], Path(data["root"]))
    return 0


def convert(recipe: dict[str, Any], **options: Any) -> int:
    """Write the dataset of a card in another format, see `convert_card`."""
    from visionkit.cli.conversion import convert_card

    return convert_card(recipe, **options)


def pack(recipe: dict[str, Any], **options: Any) -> int:
    """Write the dataset of a card into shards, see `pack_card`."""
    from visionkit.cli.packing import pack_card

    return pack_card(recipe, **options)


def audit(recipe: dict[str, Any], **options: Any) -> int:
    """Look for faults of the dataset of a card, see `cli.audit.audit`."""
    from visionkit.cli.audit import audit as audit_card

    return audit_card(recipe, **options)


TOOLS: dict[str, Callable[..., int]] = {
    "check": check,
    "audit": audit,
    "show": show,
    "download": download,
    "convert": convert,
    "pack": pack,
    "proposals": proposals,
    "anchors": anchors,
}
"""Functions by action of `visionkit data`. Each takes the composed card and the options of the action."""
