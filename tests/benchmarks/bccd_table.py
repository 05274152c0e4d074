"""BCCD: every detector after the same CPU time, and seconds per image by stage.

    python -m tests.benchmarks.bccd_table DATA WEIGHTS OUTPUT MINUTES [detector ...] [key=value ...]

DATA is the folder of the card bccd, WEIGHTS are ImageNet's for timm/tf_efficientnet_lite0. Each detector's recipe is
trained for as many epochs as fit into MINUTES of one core, measured by two short runs before. Prints a Markdown table
of the metrics on the test images and of the seconds per image by stage, and writes it to OUTPUT/table.md. Rows in
OUTPUT/rows are not measured again. The proposals of R-CNN and Fast R-CNN are searched beforehand and are not part of
the training time, but the seconds per image contain the search.
"""

import math
import os
import sys
import time
from collections import Counter
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import yaml

import visionkit as vk
from tests.benchmarks.schedules import fill, fit_and_test, last_run, processor_seconds
from visionkit.cli.config.build import build_data
from visionkit.cli.main import main
from visionkit.data.proposals.proposal_source import SelectiveSearchProposals
from visionkit.ops.nms import NMSOptions
from visionkit.pipelines import DetectionPipeline

DETECTORS = {
    "sliding window": "sliding_window_alexnet",
    "R-CNN": "rcnn_efficientnet_lite0",
    "Fast R-CNN": "fast_rcnn_efficientnet_lite0",
    "Faster R-CNN": "faster_rcnn_efficientnet_lite0",
    "R-FCN": "rfcn_efficientnet_lite0",
    "YOLO v1": "yolov1_efficientnet_lite0",
    "YOLO v2": "yolov2_efficientnet_lite0",
    "SSD": "ssd_efficientnet_lite0",
    "RetinaNet": "retinanet_efficientnet_lite0",
}
"""Names in the table and recipes, in the order of their papers but for the one-stage detectors, which follow."""

OWN_BACKBONE = ("sliding window",)
"""Detectors that are trained from random initialization, because no weights are available for their backbones."""

WITHOUT_LATER_STAGES = {"rcnn_efficientnet_lite0": ["model.classifier=softmax", "model.box_regression.enabled=false"]}
"""What the short runs leave out: they time fine-tuning. R-CNN's other stages come on top of the given minutes."""

WORDS = [
    "trainer.accelerator=cpu",
    "trainer.limit_val_batches=0",
    "trainer.enable_progress_bar=false",
    "data.num_workers=0",
]
STAGES = ("proposals", "features", "heads", "NMS", "rest")
SHORT_RUNS = (4, 20)
"""Steps of the two runs that tell what a step and what all else costs."""

TIMED = 8
"""Test images that are timed, after one that is not."""


class Stopwatch:
    """CPU seconds by stage. A timed function that a stage calls counts only for itself."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self.running: list[str] = ["rest"]
        self.since = time.process_time()

    def around(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, timed."""

        @wraps(function)
        def timed(*given: Any, **named: Any) -> Any:
            self.turn()
            self.running.append(stage)
            try:
                return function(*given, **named)
            finally:
                self.turn()
                self.running.pop()

        return timed

    def turn(self) -> None:
        """Add the time since the last call to the running stage."""
        now = time.process_time()
        self.seconds[self.running[-1]] += now - self.since
        self.since = now


def stage_seconds(pipeline: DetectionPipeline, images: list[Path]) -> Counter[str]:
    """CPU seconds per image by stage, mean of all images except the first."""
    network, watch = pipeline.network, Stopwatch()
    network.forward = watch.around("heads", network.forward)
    network.backbone.forward = watch.around("features", network.backbone.forward)
    if rpn := getattr(network, "rpn", None):
        rpn.forward, rpn.propose = (watch.around("proposals", step) for step in (rpn.forward, rpn.propose))
    kinds = {SelectiveSearchProposals: "proposals", NMSOptions: "NMS"}
    plain = {kind: kind.__call__ for kind in kinds}
    try:
        for kind, stage in kinds.items():
            kind.__call__ = watch.around(stage, kind.__call__)  # type: ignore[method-assign]
        pipeline.predict(images[0])
        watch.turn()
        watch.seconds.clear()
        pipeline.predict(images[1:])
        watch.turn()
    finally:
        for kind, function in plain.items():
            kind.__call__ = function  # type: ignore[method-assign]
    return Counter({stage: spent / (len(images) - 1) for stage, spent in watch.seconds.items()})


def epochs_within(minutes: float, recipe: str, words: list[str]) -> int:
    """Return the number of epochs of a recipe that fit into the given CPU minutes, from two runs of a few steps."""
    spent = []
    for steps in SHORT_RUNS:
        start = processor_seconds()
        few = ["trainer.max_epochs=1", f"trainer.limit_train_batches={steps}", *WITHOUT_LATER_STAGES.get(recipe, [])]
        assert main(["fit", recipe, *words, *few]) == 0
        spent.append(processor_seconds() - start)
    step = (spent[1] - spent[0]) / (SHORT_RUNS[1] - SHORT_RUNS[0])
    composed = yaml.safe_load((last_run(recipe) / "recipe.yaml").read_text())
    epoch = step * math.ceil(len(build_data(composed).dataset("train")) / composed["data"]["batch_size"])
    return max(int((60 * minutes - (spent[0] - SHORT_RUNS[0] * step)) / epoch), 1)


def row(name: str, minutes: float, card: list[str], images: list[Path]) -> list[str]:
    """Return the table row of one detector."""
    recipe = DETECTORS[name]
    epochs = epochs_within(minutes, recipe, card)
    metrics, _, spent = fit_and_test(recipe, [*card, f"trainer.max_epochs={epochs}"])
    pipeline = vk.load(last_run(recipe) / "last.ckpt", device="cpu")
    seconds = stage_seconds(pipeline, images)
    parameters = sum(parameter.numel() for parameter in pipeline.network.parameters())
    return [
        name,
        str(epochs),
        f"{spent:.1f}",
        f"{metrics['AP50']:.3f}",
        f"{metrics['AP']:.3f}",
        f"{parameters / 1e6:.1f}",
        f"{sum(seconds.values()):.3f}",
        *(f"{seconds[stage]:.3f}" for stage in STAGES),
    ]


if __name__ == "__main__":
    data, weights, output = (Path(word).resolve() for word in sys.argv[1:4])
    minutes, chosen = float(sys.argv[4]), [word for word in sys.argv[5:] if "=" not in word]
    output.mkdir(parents=True, exist_ok=True)
    os.chdir(output)
    card = ["bccd", f"data.root={data}", *WORDS, *(word for word in sys.argv[5:] if "=" in word)]
    if {"R-CNN", "Fast R-CNN"} & {*(chosen or DETECTORS)}:
        for split in ("train", "test"):
            assert main(["data", "proposals", *card, "--split", split]) == 0
    names = (data / "ImageSets/Main/test.txt").read_text().split()[: TIMED + 1]
    images = [data / "JPEGImages" / f"{name}.jpg" for name in names]

    def measured(name: str) -> list[str]:
        start = f"model.backbone.weights={'none' if name in OWN_BACKBONE else weights}"
        return row(name, minutes, [*card, start], images)

    head = ["detector", "epochs", "CPU minutes", "AP50", "AP", "M parameters", "s an image", *STAGES]
    fill(head, DETECTORS, chosen, measured)
