"""Packed data beside single files: images/s, memory of a worker, and the start of an epoch.

    python -m tests.benchmarks.packed_table BCCD FOLDER

BCCD is the folder of the card bccd. FOLDER is a new folder for the files that are written. Speed is that of the
loader of the 205 training images without augmentation, the best of five epochs: by two workers, and per CPU second of
one process, which other programs disturb less; over http from a server on this machine, an epoch with an empty cache
and the best of five with a full one. Memory is what a worker has for itself (USS)
after two epochs with 100,000 small images and 1,000,000 objects, read from COCO JSON and packed. files/s is the rate at
which one process reads these image files without decoding them.
"""

import io
import json
import platform
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from tests.helpers.packed_files import write_packed
from visionkit.data.batch import TargetDataset, initialize_worker
from visionkit.data.datamodule import VisionData
from visionkit.data.datasets.base import VisionDataset
from visionkit.data.datasets.coco import Coco
from visionkit.data.datasets.image_path import encoded_image
from visionkit.data.datasets.packed import Packed
from visionkit.data.packed.stream_options import StreamOptions
from visionkit.data.samplers import Place
from visionkit.data.shard_samplers import ShardSampler

WORKERS, EPOCHS = 2, 5
IMAGES, OBJECTS_PER_IMAGE = 100_000, 10
PACKED = {"train": {"split": "train"}}


def speed(data: VisionData, clock: Callable[[], float], epochs: int = EPOCHS) -> float:
    """Return the images per second of the fastest epoch, by a clock."""
    loader, best = data.train_dataloader(), 0.0
    for _ in range(epochs):
        start = clock()
        seen = sum(len(batch.images) for batch in loader)
        best = max(best, seen / (clock() - start))
    assert seen >= len(data.dataset("train")) - data.batch_size
    return best


@contextmanager
def web_server(folder: Path) -> Iterator[str]:
    """Yield the address of a web server for a folder, in a process of its own."""
    command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        address = server.stdout.readline().split("(")[1].split("/)")[0]
        urllib.request.urlopen(f"{address}/packed.json", timeout=30).close()
        yield address
        server.terminate()


def speeds(bccd: Path, folder: Path) -> Iterator[tuple[str, float, float]]:
    """Yield the speed of single files and of packed data: of two workers, and per CPU second of one process."""

    def both(format: str, root: object, splits: dict[str, Any], **options: Any) -> tuple[float, float]:
        alone, together = (
            VisionData(format, str(root), splits, batch_size=8, num_workers=workers, **options)
            for workers in (0, WORKERS)
        )
        return speed(together, time.perf_counter), speed(alone, time.process_time)

    files = VisionData("voc", str(bccd), {"train": {"image_set": "train"}})
    yield "single files", *both("voc", bccd, {"train": {"image_set": "train"}})
    write_packed(folder / "bccd", {"train": files.dataset("train")}, shard_mb=1)
    yield "packed, folder", *both("packed", folder / "bccd", PACKED)
    with web_server(folder / "bccd") as address:
        caches = [{"stream": StreamOptions(window=2, cache=str(folder / name))} for name in ("one", "two")]
        empty = [
            VisionData("packed", address, PACKED, batch_size=8, num_workers=workers, **options)
            for workers, options in zip((WORKERS, 0), caches, strict=True)
        ]
        clocks = (time.perf_counter, time.process_time)
        first = [speed(data, clock, 1) for data, clock in zip(empty, clocks, strict=True)]
        yield "packed, http, first epoch", *first
        yield "packed, http, cached", *both("packed", address, PACKED, **caches[0])


def write_coco(folder: Path) -> None:
    """Write COCO JSON with `IMAGES` images of 32 x 32 pixels and `OBJECTS_PER_IMAGE` objects each."""
    (folder / "images").mkdir(parents=True)
    file = io.BytesIO()
    Image.new("RGB", (32, 32)).save(file, "PNG")
    for number in range(IMAGES):
        (folder / "images" / f"{number:012}.png").write_bytes(file.getvalue())
    corners = np.random.default_rng(0).integers(0, 16, (IMAGES * OBJECTS_PER_IMAGE, 4)).tolist()
    content = {
        "images": [
            {"id": number, "file_name": f"{number:012}.png", "height": 32, "width": 32} for number in range(IMAGES)
        ],
        "categories": [{"id": number, "name": f"class {number}"} for number in range(80)],
        "annotations": [
            {
                "id": number,
                "image_id": number // OBJECTS_PER_IMAGE,
                "category_id": number % 80,
                "bbox": [x, y, width + 1, height + 1],
                "area": (width + 1) * (height + 1),
                "iscrowd": 0,
            }
            for number, (x, y, width, height) in enumerate(corners)
        ],
    }
    (folder / "train.json").write_text(json.dumps(content))


class Memory(Dataset[int]):
    """Images of a dataset, of which only the bytes that their process has for itself are returned."""

    def __init__(self, dataset: VisionDataset) -> None:
        self.dataset = TargetDataset(dataset)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> int:
        self.dataset[index]
        if index % 1000:
            return 0
        rows = [line.split() for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]]
        return 1024 * sum(int(row[1]) for row in rows if row[0] in ("Private_Clean:", "Private_Dirty:"))


def worker_memory(dataset: VisionDataset) -> list[float]:
    """Return the largest memory of a worker in each of two epochs, in MB."""
    loader = DataLoader(
        Memory(dataset),
        batch_size=64,
        num_workers=WORKERS,
        persistent_workers=True,
        shuffle=True,
        worker_init_fn=initialize_worker,
    )
    return [max(int(batch.max()) for batch in loader) / 1e6 for _ in range(2)]


def seconds_to_first_batch(dataset: VisionDataset) -> list[float]:
    """Return the seconds to the first batch of two epochs; the first one also starts the workers."""
    shards = dataset.shards() if isinstance(dataset, Packed) else np.arange(len(dataset)) // 1000
    sampler = ShardSampler(shards, Place(), 8, None, seed=0)
    loader = DataLoader(
        TargetDataset(dataset),
        sampler=sampler,  # type: ignore[arg-type]
        batch_size=8,
        num_workers=WORKERS,
        persistent_workers=True,
        collate_fn=list,
        worker_init_fn=initialize_worker,
    )
    found = []
    for _ in range(2):
        start = time.perf_counter()
        batches = iter(loader)
        next(batches)
        found.append(time.perf_counter() - start)
        for _ in batches:
            break
    return found


def reads(dataset: VisionDataset) -> float:
    """Return the image files per second that one process reads without decoding them, in random order."""
    order = np.random.default_rng(0).permutation(len(dataset))[:20_000].tolist()
    start = time.perf_counter()
    for index in order:
        encoded_image(dataset, index)
    return len(order) / (time.perf_counter() - start)


def opened(dataset: Any) -> tuple[VisionDataset, float]:
    """Return a dataset and the seconds that it took to open it."""
    start = time.perf_counter()
    return dataset(), time.perf_counter() - start


if __name__ == "__main__":
    torch.set_num_threads(1)
    bccd, folder = Path(sys.argv[1]), Path(sys.argv[2])
    folder.mkdir(parents=True)
    print(f"Python {platform.python_version()}, torch {torch.__version__}, {WORKERS} workers")
    print("| source | images/s | images per CPU second |\n|---|---|---|")
    for name, together, alone in speeds(bccd, folder):
        print(f"| {name} | {together:.0f} | {alone:.0f} |", flush=True)
    write_coco(folder / "coco")
    coco, coco_seconds = opened(lambda: Coco(folder / "coco", "train.json", "images"))
    write_packed(folder / "packed", {"train": coco}, workers=WORKERS)
    packed, packed_seconds = opened(lambda: Packed(folder / "packed", "train"))
    print("\n| format | open, s | files/s | worker, MB, epochs 1 and 2 | first batch of epochs 1 and 2, s |")
    print("|---|---|---|---|---|")
    for name, dataset, seconds in (("coco", coco, coco_seconds), ("packed", packed, packed_seconds)):
        memory = ", ".join(f"{value:.0f}" for value in worker_memory(dataset))
        first = ", ".join(f"{value:.2f}" for value in seconds_to_first_batch(dataset))
        print(f"| {name} | {seconds:.2f} | {reads(dataset):.0f} | {memory} | {first} |", flush=True)
