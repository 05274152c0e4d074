"""CPU time of decode, resize, flip and color jitter of one image, compared with PIL and torchvision.

    python -m tests.benchmarks.loading_table path/to/bccd/JPEGImages

One thread, as in a loader worker. The rows are interleaved, and the ratio is the median over rounds.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
import torchvision
from PIL import Image
from torchvision.transforms import v2

from visionkit.data.batch import TargetDataset
from visionkit.data.datasets.base import NoSemanticMasks
from visionkit.data.io.images import read_image
from visionkit.data.transforms.augmentation import Augmentation
from visionkit.preprocessing.detection import DetectionPreprocessing
from visionkit.structures import Annotation, Sample

SHORT_SIDE, LONG_SIDE = 400, 1333
JITTER, HUE = 0.4, 0.1
IMAGES, ROUNDS, OBJECTS = 40, 9, 12
MEAN, STD = [0.5] * 3, [0.25] * 3

Load = Callable[[int], object]


class Files(NoSemanticMasks):
    """The image files of a folder, with boxes at random places."""

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths
        corners = np.random.default_rng(0).uniform(0, 200, (OBJECTS, 2)).astype(np.float32)
        none = np.zeros(OBJECTS, bool)
        boxes, areas = np.concatenate([corners, corners + 40], axis=1), np.full(OBJECTS, 1600, np.float32)
        self.annotation = Annotation(boxes, np.zeros(OBJECTS, np.int64), none, none, areas)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Sample:
        return Sample(read_image(self.paths[index]), index, self.paths[index].name, self.annotation)


def visionkits(paths: list[Path], hue: float, is_early: bool) -> Load:
    """Loading as in the training of a detector: `is_early` resizes before the colors are changed, as `fit` does."""
    jitter = {"name": "ColorJitter", "brightness": JITTER, "contrast": JITTER, "saturation": JITTER, "hue": hue, "p": 1}
    augmentation = Augmentation([{"name": "HorizontalFlip", "p": 0.5}, jitter])
    size = DetectionPreprocessing(SHORT_SIDE, LONG_SIDE, MEAN, STD).loader_size
    augmentation.input_size = size if is_early else None
    images = TargetDataset(Files(paths), augmentation)  # type: ignore[arg-type]  # has all that is needed here

    def load(index: int) -> torch.Tensor:
        item = images[index]
        assert item is not None
        height, width = item[1]["size"]
        return v2.functional.resize(item[0], [*(size(height, width) or ())], antialias=True)

    return load


def torchvisions(paths: list[Path], hue: float) -> Load:
    """The same with PIL images and transforms v2."""
    steps = v2.Compose(
        [
            v2.Resize(SHORT_SIDE, max_size=LONG_SIDE),
            v2.RandomHorizontalFlip(),
            v2.ColorJitter(JITTER, JITTER, JITTER, hue),
            v2.PILToTensor(),
        ]
    )
    return lambda index: steps(Image.open(paths[index]).convert("RGB"))


def measure(loads: dict[str, Load], images: int) -> dict[str, list[float]]:
    """Return the CPU seconds per image of each round."""
    times: dict[str, list[float]] = {name: [] for name in loads}
    for number in range(ROUNDS + 1):
        for name, load in loads.items():
            start = time.process_time()
            for index in range(images):
                load(index)
            if number:  # the first round warms up
                times[name].append((time.process_time() - start) / images)
    return times


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of JPEG files")
    paths = sorted(parser.parse_args().folder.glob("*.jp*g"))[:IMAGES]
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    print(f"torch {torch.__version__}, torchvision {torchvision.__version__}, {len(paths)} images")
    print("| color jitter | torchvision v2 | resize last | resize first | ratio |")
    print("|---|---|---|---|---|")
    for label, hue in (("without hue", 0.0), ("with hue", HUE)):
        loads = {"reference": torchvisions(paths, hue)}
        loads |= {name: visionkits(paths, hue, name == "first") for name in ("last", "first")}
        times = measure(loads, len(paths))
        ratios = [their / own for their, own in zip(times["reference"], times["first"], strict=True)]
        cells = [f"{1000 * statistics.median(column):.2f} ms" for column in times.values()]
        spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        print(f"| {label} | {' | '.join(cells)} | {spread} |")


if __name__ == "__main__":
    main()
