"""Speed beside torchvision, segmentation_models.pytorch and plain loops: one table, interleaved.

    python -m tests.benchmarks.speed_table [--device cuda] [--rows NAME,...] [--batch 2,16] [--precision fp32,bf16]
        [--minutes 10] [--rounds 8] [--output speed_table.jsonl]

Prints a Markdown table, and keeps it beside the lines of `--output`. Rows that the file has are not measured again, so
the command goes on where it was stopped; `--minutes` stops it between rows. A ratio below 1 means that visionkit is
faster: the median over alternating rounds, and the quartiles. "ratio" is given to the peer as it is, and to its
fastest variant: channels-last, and on a GPU also fused, and compiled (of torchvision's detectors, the backbone).

On a CPU, CPU seconds of one thread are measured: run it as `taskset -c 1 python -m ...`. On a GPU, a round is five
steps between two synchronizations. Memory is what a step allocates at its peak, and "synchronizations" is how often
it waits for the GPU; both of visionkit and of the fastest peer.
"""

import argparse
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from tests.benchmarks.speed_table.rows import ROWS, Case, cases
from tests.benchmarks.speed_table.setting import SIZES, Sizes
from tests.benchmarks.speed_table.table import described, head, key, markdown, read, record
from tests.benchmarks.speed_table.timing import GPU_STEPS, Timer, measure, prepare


def main(words: Sequence[str] | None = None, sizes: Sizes | None = None) -> int:
    """Measure the rows that are missing, until they are done or the time is over.

    Args:
        words: arguments of the command; None takes those of the process.
        sizes: sizes of the images; None takes those of the device.
    """
    options = parsed(words)
    device = torch.device(options.device)
    prepare(device)
    chosen = list(
        cases(options.rows, options.batch, options.precision, device, sizes or SIZES[device.type], options.workers)
    )
    timer = Timer(device, GPU_STEPS if device.type == "cuda" else 1)
    left = fill(chosen, timer, options.rounds, options.minutes, options.output)
    table = markdown(read(options.output))
    options.output.with_suffix(".md").write_text(table)
    print(table)
    if left:
        print(f"{left} rows are left: repeat the command")
    return 0


def parsed(words: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.speed_table", description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=list(SIZES), default="cpu")
    parser.add_argument("--rows", type=_words, default=list(ROWS), help=f"some of {','.join(ROWS)}")
    parser.add_argument("--batch", type=_numbers, default=[2, 16])
    parser.add_argument("--precision", type=_words, default=["fp32", "bf16"])
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="no row starts that would end later")
    parser.add_argument("--workers", type=int, help="processes of the loader; 0 on a CPU, at most 8 on a GPU")
    parser.add_argument("--output", type=Path, default=Path("speed_table.jsonl"))
    options = parser.parse_args(words)
    if unknown := [name for name in options.rows if name not in ROWS]:
        parser.error(f"there is no row {unknown[0]!r}, only {', '.join(ROWS)}")
    if unknown := [name for name in options.precision if name not in ("fp32", "bf16")]:
        parser.error(f"there is no precision {unknown[0]!r}, only fp32 and bf16")
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: there is no GPU")
    if options.workers is None:
        options.workers = min(os.cpu_count() or 1, 8) if options.device == "cuda" else 0
    return options


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",")]


def _numbers(text: str) -> list[int]:
    return [int(word) for word in text.split(",")]


def fill(chosen: list[Case], timer: Timer, rounds: int, minutes: float, output: Path) -> int:
    """Measure the rows that the file lacks, and return how many are left.

    A row whose peer was not installed is measured again when it is.
    """
    machine, start, longest = head(timer.device), time.monotonic(), 0.0
    done = {key(row): row["complete"] for row in read(output)}
    missing = [case for case in chosen if done.get(key(described(case, machine))) not in (True, case.is_complete)]
    for number, case in enumerate(missing):
        begun = time.monotonic()
        if begun - start + longest > 60 * minutes:
            return len(missing) - number
        measured = measure(case.contenders(), timer, rounds)
        with output.open("a") as file:
            file.write(json.dumps(record(case, machine, measured)) + "\n")
        longest = max(longest, time.monotonic() - begun)
        print(f"{case.name} {case.setting.job} {case.setting.batch} {case.setting.precision}: measured", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
