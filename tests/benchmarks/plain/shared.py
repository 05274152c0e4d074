"""What the plain scripts share: the command line, the time, and the learning rate over the time.

    python -m tests.benchmarks.plain.detection fit CARD --minutes N [--seed S] [--folder DIR] [key=value ...]
    python -m tests.benchmarks.plain.detection score CARD --split test [--folder DIR] [key=value ...]

`fit` writes model.pt, and `score` the metrics.json of that model. CARD tells which images and annotations are read.
"""

import argparse
import json
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from torch.utils.data import DataLoader

from visionkit.cli.config.build import build_data
from visionkit.cli.config.compose import compose
from visionkit.data.datamodule import VisionData
from visionkit.metrics.results import MetricResults

WEIGHTS = "tf_efficientnet_lite0-imagenet.pth"
MEAN = STD = (0.5, 0.5, 0.5)
"""Normalization of the weights."""

SAVING_SECONDS = 1.5
WARMUP = 0.1
"""Share of the time in which the learning rate rises."""

Options = argparse.Namespace


def main(
    fit: Callable[[Options], Any], score: Callable[[Options, Any], MetricResults], defaults: dict[str, Any]
) -> None:
    """Run the command line of a script.

    Args:
        fit: trains a model until `options.clock` ends, and returns what is saved.
        score: returns the metrics of what `fit` returned on the images of `options.split`.
        defaults: options of the script, which words `key=value` change.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=("fit", "score"))
    parser.add_argument("card")
    parser.add_argument("words", nargs="*", metavar="key=value")
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--split", default="val")
    parser.add_argument("--folder", type=Path, default=Path())
    options = parser.parse_intermixed_args(namespace=Options(**defaults))
    vars(options).update(values(options.words))
    options.clock, options.data = Clock(options.minutes), read_card(options.card)
    torch.manual_seed(options.seed)
    if options.command == "fit":
        torch.save(fit(options), options.folder / "model.pt")
    else:
        results = score(options, torch.load(options.folder / "model.pt", weights_only=False))
        (options.folder / "metrics.json").write_text(json.dumps(results.to_dict()))


def values(words: Sequence[str]) -> dict[str, Any]:
    """Return the values of words `key=value`."""
    return {key: yaml.safe_load(value) for key, _, value in (word.partition("=") for word in words)}


def read_card(card: str) -> VisionData:
    """Return the data of a card."""
    return build_data(compose([card]).values)


def read_weights() -> dict[str, torch.Tensor]:
    """Return ImageNet's weights of timm's `tf_efficientnet_lite0`."""
    return torch.load(Path(os.environ["VISIONKIT_WEIGHTS"]) / WEIGHTS, weights_only=True)


class Clock:
    """The CPU time of this process, imports included: the time of one free core, also if others use it too."""

    def __init__(self, minutes: float) -> None:
        self.begin, self.end = time.process_time(), 60 * minutes - SAVING_SECONDS

    def share(self) -> float:
        """Return how much of the time since the clock was made has passed, 0 to 1 and more."""
        return (time.process_time() - self.begin) / (self.end - self.begin)


def batches(loader: DataLoader[Any], optimizer: torch.optim.Optimizer, clock: Clock) -> Iterator[Any]:
    """Yield batches until the time is over, and set the learning rates of the optimizer before each."""
    peaks = [group["lr"] for group in optimizer.param_groups]
    begin, longest, steps = clock.share(), 0.0, 0
    while True:
        for batch in loader:
            started = clock.share()
            if started + longest > 1:
                print(f"{steps} steps")
                return
            for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                group["lr"] = peak * one_cycle((started - begin) / (1 - begin))
            yield batch
            longest, steps = max(longest, clock.share() - started), steps + 1


def one_cycle(share: float) -> float:
    """Return the learning rate relative to its peak: up in a line, and down in half a cosine."""
    if share < WARMUP:
        return 0.04 + 0.96 * share / WARMUP
    return 0.5 + 0.5 * math.cos(math.pi * min((share - WARMUP) / (1 - WARMUP), 1))
