"""`visionkit data check` and `visionkit data download`."""

from pathlib import Path
from typing import Any

from rich.console import Console

from visionkit.cli.logs import show_progress_messages
from visionkit.errors import RecipeError


def check(recipe: dict[str, Any]) -> int:
    """Read every split of a card and print what is in it; 1 where pictures are missing or broken."""
    from visionkit.cli.parts import build_data
    from visionkit.data.check import check as check_dataset

    show_progress_messages()
    data = build_data(recipe)
    broken = 0
    for split in data.splits:
        report = check_dataset(data.dataset(split))
        Console().print(f"[bold]{split}[/bold]")
        for line in report.lines():
            Console().print(f"  {line}", soft_wrap=True)
        broken += len(report.problems)
    return 1 if broken else 0


def download(recipe: dict[str, Any]) -> int:
    """Fetch the files that a card lists, verify and unpack them."""
    from visionkit.data.download import download as fetch

    show_progress_messages()
    data = recipe["data"]
    if not data.get("download") or not data.get("root"):
        raise RecipeError("this card has nothing to download (data.download and data.root)")
    fetch(data, Path(data["root"]))
    return 0
