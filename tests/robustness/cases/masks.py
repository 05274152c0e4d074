"""Damaged mask files, lists of pairs, and values and colors of the `masks` format."""

import io

import numpy as np
from PIL import Image

from tests.robustness.cases import Kind
from tests.robustness.cases.reading import run_card, write_card
from tests.robustness.mutations import (
    SECRET,
    TEXTS,
    encoded_text,
    mutated_bytes,
    mutated_png,
    mutated_text,
    mutated_tree,
)

MODES = ["L", "P", "1", "I;16", "RGB", "RGBA", "LA"]
SPLIT = {
    "images": "images",
    "masks": "masks",
    "values": {0: "road", 1: "sky", 255: "ignore"},
    "colors": {"road": [0, 0, 0], "sky": [[1, 1, 1], [0, 0, 255]], "ignore": [255, 255, 255]},
}


def prepare(rng, folder):
    for name in ("images", "masks"):
        (folder / name).mkdir()
    for name in ("1", "2"):
        Image.new("RGB", (8, 6), 90).save(folder / "images" / f"{name}.png")
        (folder / "masks" / f"{name}.png").write_bytes(mask(rng.choice(MODES)))
    split, choice = dict(SPLIT), rng.random()
    if choice < 0.6:
        path = folder / rng.choice(["images", "masks", "masks"]) / "1.png"
        damage = rng.choice([mutated_png, mutated_png, mutated_bytes])
        path.write_bytes(damage(rng, path.read_bytes()))
    elif choice < 0.75:
        lines = "1.png 1.png\n2.png\t2.png\n"
        lines = rng.choice([mutated_text(rng, lines), f"1.png\t{rng.choice(TEXTS)}\n", f"{SECRET} 1.png\n"])
        (folder / "list.txt").write_bytes(encoded_text(rng, lines))
        split["list_file"] = "list.txt"
    else:
        split = plain(mutated_tree(rng, split))
    if rng.random() < 0.2:
        split["on_bad_file"] = "skip"
    write_card(folder, format="masks", splits={"train": split, "val": split})
    return [rng.choice(["check", "read", "read"])]


def mask(mode):
    """Return a PNG file of a mask with the values 0 and 1."""
    values = np.arange(48).reshape(6, 8) % 2
    if mode == "I;16":
        image = Image.fromarray(values.astype(np.uint16))
    else:
        image = Image.fromarray(values.astype(np.uint8))
        image = image.point(lambda value: value * 255).convert("1") if mode == "1" else image.convert(mode)
    if mode == "P":
        image.putpalette([0, 0, 0, 200, 10, 10])
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def plain(tree):
    """Return a tree as YAML can hold it: without half surrogate pairs, and not as deep as Python's stack."""
    if isinstance(tree, dict):
        return {plain(key): plain(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [plain(value) for value in tree]
    return tree.encode(errors="ignore").decode() if isinstance(tree, str) else tree


KIND = Kind(prepare, run_card, confined=True)
