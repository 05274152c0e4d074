"""Accuracy of a classifier with few images: head only, fine-tuned, from scratch.

    python tests/benchmarks/transfer_table.py DATA WEIGHTS OUTPUT [SEEDS] [test|val] [WAY ...]

DATA holds cifar10/ and bccd/ as of the cards cifar10_arrays and bccd, WEIGHTS are ImageNet's for
timm/tf_efficientnet_lite0. Prints a markdown table of top-1 on the test images, mean and spread over the seeds; on
validation images with `val`, which is what settings are chosen by. WAYs ("fine-tuned") leave the others out.
"""

import json
import os
import statistics
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from visionkit.cli.main import main
from visionkit.data.datasets.arrays import ArrayDataset
from visionkit.data.datasets.voc import Voc

TRAIN_PER_CLASS, SCORED_PER_CLASS = 40, 100
SIDE = 96
COMMON = [
    "data.format=folder",
    "data.batch_size=20",
    "data.num_workers=1",
    "data.augment=[{name: HorizontalFlip, p: 0.5}]",
    f"preprocess={{short_side: {SIDE}, crop: {SIDE}}}",
    "trainer.check_val_every_n_epoch=10",
    "trainer.enable_progress_bar=false",
    "trainer.enable_model_summary=false",
    "schedule.warmup_steps=20",
    "model.backbone.name=timm/tf_efficientnet_lite0",
]
WAYS = {
    "head only": ["transfer_head", "trainer.max_epochs=10", "optimizer.base_batch_size=20"],
    "fine-tuned": ["transfer_finetune", "trainer.max_epochs=10"],
    "from scratch": [
        "transfer_finetune",
        "trainer.max_epochs=20",
        "model.backbone.batch_norm=trained",
        "optimizer={lr: 0.05, base_batch_size: 20, backbone_lr_factor: 1.0, stage_lr_decay: 1.0}",
    ],
}


def cifar(root: Path, split: str) -> Iterator[tuple[str, Image.Image]]:
    """Images of CIFAR-10 with their classes; the last training images are the validation split."""
    reader = ArrayDataset(root / "cifar10", f"{'test' if split == 'test' else 'train'}_jpeg.npz")
    for index in range(len(reader))[:: -1 if split == "val" else 1]:
        yield reader.class_names[int(reader.labels[index])], Image.fromarray(reader[index].image)


def cells(root: Path, split: str) -> Iterator[tuple[str, Image.Image]]:
    """Yield the crops of the boxes of blood cells."""
    reader = Voc(root / "bccd", split)
    for index in np.random.default_rng(0).permutation(len(reader)):
        sample = reader[int(index)]
        for box, label in zip(sample.annotation.boxes, sample.annotation.labels, strict=True):
            yield reader.class_names[label], Image.fromarray(sample.image).crop(tuple(box.round().tolist()))


def write_subset(source: Iterator[tuple[str, Image.Image]], folder: Path, per_class: int, classes: int) -> None:
    """The first `per_class` images of each class as files in class folders."""
    counts: Counter[str] = Counter()
    for name, image in source:
        if counts[name] < per_class:
            (folder / name).mkdir(parents=True, exist_ok=True)
            image.save(folder / name / f"{counts[name]:03d}.png")
            counts[name] += 1
        if len(counts) == classes and min(counts.values()) == per_class:
            return


def top1(words: list[str], seed: int) -> float:
    """Train, test and return the accuracy."""
    recipe, *rest = words
    assert main(["fit", recipe, *rest, f"seed={seed}"]) == 0
    run = max(Path("runs", recipe).iterdir(), key=lambda path: int(path.name))
    assert main(["test", str(run / "last.ckpt")]) == 0
    return float(json.loads(next(run.glob("last-*/metrics.json")).read_text())["overall"]["top1"])


def table(data: Path, weights: Path, seeds: int, split: str, ways: Sequence[str]) -> Iterator[str]:
    """Yield the lines of the table as they are measured."""
    yield "| images | " + " | ".join(ways) + " |"
    yield "|---" * (len(ways) + 1) + "|"
    for name, source, classes in (("CIFAR-10", cifar, 10), ("blood cells", cells, 3)):
        folder = Path("images", name.replace(" ", "-"))
        for part, count in (("train", TRAIN_PER_CLASS), (split, SCORED_PER_CLASS)):
            write_subset(source(data, part), folder / part, count, classes)
        splits = f"data.splits={{train: {{path: train}}, val: {{path: {split}}}}}"
        metrics = []
        for way in ways:
            start = "none" if way == "from scratch" else weights
            given = [*WAYS[way], *COMMON, splits, f"data.root={folder}", f"model.backbone.weights={start}"]
            found = [top1(given, seed) for seed in range(seeds)]
            metrics.append(f"{statistics.mean(found):.3f} ± {statistics.pstdev(found):.3f}")
        yield f"| {name} | " + " | ".join(metrics) + " |"


if __name__ == "__main__":
    data, weights, output = (Path(word).resolve() for word in sys.argv[1:4])
    seeds, split, *ways = [*sys.argv[4:], *["3", "test"][len(sys.argv[4:]) :]]
    output.mkdir(parents=True, exist_ok=True)
    os.chdir(output)
    lines = []
    for line in table(data, weights, int(seeds), split, ways or list(WAYS)):
        lines.append(line)
        Path("table.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))
