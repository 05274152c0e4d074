"""What the table scripts share: a recipe trained and tested through the command line, and what came of it."""

import json
import resource
import time
from pathlib import Path
from typing import Any

from visionkit.cli.main import main


def fit_and_test(recipe: str, words: list[str], checkpoint: str = "last") -> tuple[dict[str, Any], float, float]:
    """Train, test, and say what came of it.

    Args:
        recipe: name of a shipped recipe, or path of one.
        words: cards and overrides to lay over it.
        checkpoint: which one is tested, "last" or "best".

    Returns:
        The figures of metrics.json, and the minutes that training took: of the clock, and of the processor.
    """
    started, spent = time.monotonic(), _processor_seconds()
    assert main(["fit", recipe, *words]) == 0
    minutes, processor_minutes = (time.monotonic() - started) / 60, (_processor_seconds() - spent) / 60
    run = max(Path("runs", Path(recipe).stem).iterdir(), key=lambda path: int(path.name))
    assert main(["test", str(run / f"{checkpoint}.ckpt")]) == 0
    figures = json.loads((run / f"{checkpoint}-test" / "metrics.json").read_text())
    return figures, minutes, processor_minutes


def _processor_seconds() -> float:
    """Of this process and those of its loader processes that have ended."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    usage = [resource.getrusage(kind) for kind in kinds]
    return sum(part.ru_utime + part.ru_stime for part in usage)
