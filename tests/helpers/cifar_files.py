"""Files of CIFAR-10 and CIFAR-100."""

import pickle
import struct
from typing import ClassVar

import numpy as np


class Python2Pickler(pickle._Pickler):
    """Pickles as Python 2 did, which wrote the originals: bytes and text alike as its own kind of string."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_string(self, value):
        data = value.encode() if isinstance(value, str) else value
        self.write(pickle.BINSTRING + struct.pack("<i", len(data)) + data)
        self.memoize(value)

    dispatch[bytes] = dispatch[str] = save_string

    def save_global(self, value, name=None):
        module = value.__module__.replace("numpy._core", "numpy.core")
        self.write(pickle.GLOBAL + f"{module}\n{value.__qualname__}\n".encode())
        self.memoize(value)

    dispatch[type] = save_global
    dispatch[type(pickle.dumps)] = save_global
    dispatch[type(lambda: None)] = save_global


def write_pickle(path, content, modern=False):
    with path.open("wb") as file:
        pickle.dump(content, file, protocol=4) if modern else Python2Pickler(file, protocol=2).dump(content)


def random_images(seed, count=4):
    return np.random.default_rng(seed).integers(0, 256, (count, 3072), np.uint8)


def write_cifar10(root, modern=False):
    for number in range(1, 6):
        batch = {
            b"batch_label": b"part",
            b"labels": [number, 0, 1, 9],
            b"data": random_images(number),
            b"filenames": [b"x.png"],
        }
        write_pickle(root / f"data_batch_{number}", batch, modern)
    write_pickle(root / "test_batch", {b"labels": [3, 4], b"data": random_images(9, 2)}, modern)
    write_pickle(root / "batches.meta", {b"label_names": [b"class%d" % k for k in range(10)], b"num_vis": 3072}, modern)
    return root


def write_cifar100(root):
    for name, count in (("train", 5), ("test", 3)):
        batch = {
            b"fine_labels": list(range(count)),
            b"coarse_labels": [1] * count,
            b"data": random_images(count, count),
        }
        write_pickle(root / name, batch)
    names = {
        b"fine_label_names": [b"f%d" % k for k in range(100)],
        b"coarse_label_names": [b"c%d" % k for k in range(20)],
    }
    write_pickle(root / "meta", names)
    return root
