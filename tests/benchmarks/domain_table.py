"""Domain distance of real datasets to ImageNet: source of the threshold in visionkit/engine/transfer_statistics.py.

    python tests/benchmarks/domain_table.py DATA WEIGHTS

DATA holds the sets' folders, WEIGHTS are ImageNet's for timm/tf_efficientnet_lite0. Prints a markdown table.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from visionkit.backbones import create_backbone
from visionkit.data.datasets.arrays import ArrayDataset
from visionkit.data.datasets.base import NoSemanticMasks
from visionkit.data.io.images import read_image
from visionkit.engine.transfer_statistics import transfer_statistics
from visionkit.structures import Sample

FOLDERS = {
    "VOC 2007 (photographs)": "voc2007-mini/JPEGImages",
    "COCO 2017 (photographs)": "coco-mini/train2017",
    "CamVid (a street, from a car)": "camvid/train",
    "BCCD (stained blood smears)": "bccd/JPEGImages",
    "ISBI 2012 (electron microscope)": "isbi-membrane/images",
}


class Images(NoSemanticMasks):
    """All images of a folder, as one class.

    Args:
        folder: of PNG, JPEG and TIFF files.
        gray: whether their color is taken away.
    """

    class_names, category_ids = ["image"], [1]

    def __init__(self, folder: Path, gray: bool = False) -> None:
        self.files, self.gray = sorted(path for path in folder.iterdir() if path.is_file()), gray

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Sample:
        image = read_image(self.files[index])
        if self.gray:
            image = np.repeat(image.mean(axis=2, keepdims=True).astype(np.uint8), 3, axis=2)
        return Sample(image, index, self.files[index].name, label=0)

    def label(self, index: int) -> int:
        """The only class."""
        return 0


def table(data: Path, weights: Path) -> Iterator[str]:
    """Yield the lines of the table as they are measured."""
    backbone = create_backbone("timm/tf_efficientnet_lite0", weights=str(weights))
    readers = {name: Images(data / folder) for name, folder in FOLDERS.items()}
    readers["VOC 2007, made gray"] = Images(data / "voc2007-mini/JPEGImages", gray=True)
    readers["CIFAR-10 (32 x 32, enlarged)"] = ArrayDataset(data / "cifar10", "train_jpeg.npz")
    yield "| set | " + " | ".join(backbone.stages) + " | mean |"
    yield "|---" * (len(backbone.stages) + 2) + "|"
    for name, reader in readers.items():
        statistics = transfer_statistics(reader, backbone, "classification")
        yield (
            f"| {name} | "
            + " | ".join(f"{d:.3f}" for d in [*statistics.distance.values(), statistics.mean_distance])
            + " |"
        )


if __name__ == "__main__":
    for line in table(*(Path(word) for word in sys.argv[1:3])):
        print(line, flush=True)
