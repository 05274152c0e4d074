"""Damaged archives of downloads (zip, tar), and archives that hold a dataset (npz, MNIST, CIFAR)."""

import gzip
import io
import tarfile
import zipfile

import numpy as np
from PIL import Image

from tests.helpers.cifar_files import write_cifar10
from tests.helpers.mnist_files import idx
from tests.robustness.boundary import command
from tests.robustness.cases import Kind
from tests.robustness.cases.reading import read_card, write_card
from tests.robustness.mutations import CANARY, TEXTS, mutated_bytes

NAMES = [CANARY, "../" * 20 + "tmp/canary", "a.txt", "d/../../canary", "/canary", "d", "d/", ".", "..", "", *TEXTS]
KINDS = [tarfile.REGTYPE] * 20 + [
    tarfile.DIRTYPE,
    tarfile.SYMTYPE,
    tarfile.LNKTYPE,
    tarfile.CHRTYPE,
    tarfile.FIFOTYPE,
    b"S",
]
SUFFIXES = ["zip", "tar", "tar.gz", "tar.xz", "tar.bz2"]
CARD = "card.yaml"


def zip_file(rng):
    buffer = io.BytesIO()
    with zipfile.ZipFile(
        buffer, "w", rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
    ) as target:
        for name in ["a.txt", *(["b.txt", "d/c.png"] if rng.random() < 0.5 else rng.sample(NAMES, rng.randint(0, 2)))]:
            info = zipfile.ZipInfo("a")
            info.filename = name.encode(errors="ignore").decode()[:60_000]
            info.external_attr = rng.choice([0o100644, 0o120777, 0o104777]) << 16
            try:
                target.writestr(info, rng.choice([b"text", CANARY, bytes(100_000)]))
            except ValueError:
                continue
    return buffer.getvalue()


def tar_file(rng, packing):
    buffer = io.BytesIO()
    with tarfile.open(
        fileobj=buffer, mode=f"w:{packing}", format=rng.choice([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
    ) as target:
        for name in ["a.txt", *(["b.txt", "d/c.png"] if rng.random() < 0.5 else rng.sample(NAMES, rng.randint(0, 2)))]:
            info = tarfile.TarInfo(name.encode(errors="ignore").decode())
            info.type, info.linkname, info.mode = rng.choice(KINDS), rng.choice([CANARY, "a.txt", "/etc"]), 0o4777
            data = rng.choice([b"text", bytes(100_000)]) if info.type in (tarfile.REGTYPE, b"S") else b""
            info.size = len(data)
            info.uid = rng.choice([0, 2**40, -1])
            try:
                target.addfile(info, io.BytesIO(data))
            except ValueError:
                continue
    return buffer.getvalue()


def prepare(rng, folder):
    if rng.random() < 0.7:
        return prepare_download(rng, folder)
    rng.choice([prepare_arrays, prepare_mnist, prepare_cifar])(rng, folder)
    return ["read"]


def prepare_download(rng, folder):
    """Write an archive where a download would be stored, so that only the extraction is left to do."""
    suffix = rng.choice(SUFFIXES)
    data = zip_file(rng) if suffix == "zip" else tar_file(rng, suffix.partition(".")[2])
    if rng.random() < 0.7:
        data = repacked(rng, data, suffix)
    (folder / f"a.{suffix}").write_bytes(data)
    options = {"extract_to": rng.choice([".", ".", "x"]), **rng.choice([{}, {}, {"extracted_bytes": 1000}])}
    write_card(folder, format="folder", download=[{"url": f"http://127.0.0.1:9/a.{suffix}", **options}])
    return ["download"]


def repacked(rng, data, suffix):
    """Return an archive with damaged bytes, inside of the compression or outside."""
    if suffix == "tar.gz" and rng.random() < 0.6:
        return gzip.compress(mutated_bytes(rng, gzip.decompress(data)), mtime=0)
    if suffix == "zip" and rng.random() < 0.5:  # the directory is at the end
        at = len(data) - rng.randint(1, min(len(data), 200))
        return data[:at] + mutated_bytes(rng, data[at:])
    return mutated_bytes(rng, data)


def prepare_arrays(rng, folder):
    png = io.BytesIO()
    Image.new("RGB", (8, 6)).save(png, "PNG")
    files = np.frombuffer(png.getvalue(), np.uint8)
    arrays = {"offsets": np.array([0, len(files)]), "labels": np.array([1]), "class_names": np.array(["cat", "dog"])}
    arrays["jpeg"] = files
    choice = rng.random()
    if choice < 0.5:
        arrays[rng.choice([*arrays, "x"])] = rng.choice(ARRAYS)
    buffer = io.BytesIO()
    rng.choice([np.savez, np.savez_compressed])(buffer, **arrays)
    data = buffer.getvalue()
    (folder / "a.npz").write_bytes(mutated_bytes(rng, data) if choice > 0.4 else data)
    write_card(folder, format="arrays", splits={"val": {"file": "a.npz"}})


ARRAYS = [
    *(
        np.zeros(0),
        np.zeros((0, 5)),
        np.array(3),
        np.array([-1]),
        np.array([2**62]),
        np.array([np.nan]),
        np.array([True]),
    ),
    *(np.array(["a"]), np.array([b"a", b"b"]), np.array(["a", "a"]), np.zeros((2, 2, 2)), np.array([1 + 1j])),
    *(
        np.array([0, 5, 3]),
        np.array([0, 2**40]),
        np.array(["x" * 10_000, "\x1b"]),
        np.array([[object(), None]], dtype=object),
    ),
]


def prepare_mnist(rng, folder):
    images, labels = idx(np.zeros((2, 4, 4), np.uint8)), idx(np.array([5, 0], np.uint8))
    packed = rng.random() < 0.5
    for name, data in (("images", images), ("labels", labels)):
        damaged = mutated_bytes(rng, data) if rng.random() < 0.6 else data
        damaged = gzip.compress(damaged, mtime=0) if packed else damaged
        (folder / (f"{name}.gz" if packed else name)).write_bytes(
            mutated_bytes(rng, damaged) if packed and rng.random() < 0.3 else damaged
        )
    write_card(folder, format="mnist", splits={"val": {"images": "images", "labels": "labels"}})


def prepare_cifar(rng, folder):
    write_cifar10(folder, modern=rng.random() < 0.5)
    path = folder / rng.choice(["test_batch", "batches.meta"])
    data = path.read_bytes()
    commands = [b"cos\nsystem\n(S'touch ../canary'\ntR.", b'cbuiltins\neval\n(S\'open("../canary","w")\'\ntR.']
    path.write_bytes(rng.choice(commands) if rng.random() < 0.15 else mutated_bytes(rng, data))
    write_card(folder, format="cifar", splits={"val": {"split": "test"}})


def run(way):
    if way == "download":
        command(["data", "download", CARD])
    else:
        read_card()


KIND = Kind(prepare, run)
