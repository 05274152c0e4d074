"""Damaged Parquet files, and folders of `save_to_disk`."""

import copy
import json

from tests.helpers.arrow_files import FEATURES, LABEL, OBJECTS, images, write_parquet, write_saved
from tests.robustness.cases import Kind
from tests.robustness.cases.export_damage import damaged, damaged_folder
from tests.robustness.cases.masks import plain
from tests.robustness.cases.reading import run_card, write_card
from tests.robustness.mutations import NUMBERS, SECRET, TEXTS, mutated_bytes, mutated_tree

ROWS = {"image": images(), "objects": OBJECTS}
LABELED = {"image": images(), "label": [0, 1]}
TABLES = [(ROWS, FEATURES), (LABELED, {"image": {"_type": "Image"}, "label": LABEL})]
"""Columns with their description."""


def prepare(rng, folder):
    rows, features = rng.choice(TABLES)
    choice = rng.random()
    if choice < 0.3:
        rows = changed_rows(rng, rows)
    elif choice < 0.5:
        features = rng.choice([None, {}, mutated_tree(rng, features), huge_features(rng, features)])
    path = write(rng, folder, rows, features)
    split = {"path": path}
    if 0.5 < choice < 0.75:
        target = rng.choice([file for file in sorted(folder.rglob("*")) if file.is_file()])
        data = target.read_bytes()
        is_json = target.suffix == ".json"
        target.write_bytes(damaged(rng, target.name, json.loads(data)) if is_json else mutated_bytes(rng, data))
    elif 0.75 < choice < 0.85:
        damaged_folder(rng, folder)
    elif choice > 0.85:
        odd = rng.choice([{"box_format": "xyxy"}, {"image_column": "objects"}, {"label_column": "image"}, {}])
        split = plain(mutated_tree(rng, {**split, "path": rng.choice([path, "*", "**/*", ".", "train*"]), **odd}))
    classes = {"classes": ["dog", "cat"]} if rng.random() < 0.2 else {}
    write_card(folder, format="huggingface", splits={"train": split, "val": split}, **classes)
    return [rng.choice(["check", "read", "read"])]


def write(rng, folder, rows, features):
    """Write a table, and return its path."""
    import pyarrow

    if rng.random() < 0.5:
        write_parquet(folder / "train.parquet", rows, features)
        return "train.parquet"
    metadata = None if features is None else {"huggingface": json.dumps({"info": {"features": features}})}
    write_saved(folder / "saved", *[pyarrow.table(rows).replace_schema_metadata(metadata)] * rng.choice([1, 2]))
    return "saved"


def changed_rows(rng, rows):
    """Return rows with other values, of a kind that a table can hold."""
    rows = copy.deepcopy(rows)
    column = rng.choice(["image", "objects" if "objects" in rows else "label"])
    number = rng.choice([None, 1e308, *(float(number) for number in NUMBERS if abs(number) != 10**400)])
    text = rng.choice([SECRET, *TEXTS]).encode(errors="ignore").decode()
    rows[column] = rng.choice(
        [
            [None, None],
            [{"bytes": None, "path": text}, {"bytes": None, "path": "gone.png"}],
            [{"bytes": mutated_bytes(rng, rows["image"][0]["bytes"]), "path": None}, rows["image"][1]],
            [text, text],
            [number, number],
            [{"bbox": [[number, 1.0, 2.0, number]], "category": [1]}, None],
            [{"bbox": [[1.0, 1.0, 2.0]], "category": [0]}, {"bbox": [], "category": []}],
            [{"bbox": [[1.0, 1.0, 2.0, 2.0]], "category": [text]}, {"bbox": [], "category": []}],
            [{"bbox": [[1.0, 1.0, 2.0, 2.0]] * rng.choice([2, 5000]), "category": [1]}, None],
            [[{"bbox": [1.0, 1.0, 2.0, number], "category": text}], []],
            [[], []],
        ]
    )
    return rows


def huge_features(rng, features):
    """Return a description of the columns with many entries, or with one of enormous depth."""
    if rng.random() < 0.5:
        return {**features, **{f"column{index}": {"_type": "Value"} for index in range(200_000)}}
    deep = LABEL
    for _ in range(800):
        deep = {"_type": "List", "feature": deep}
    return {**features, "label": deep, "objects": deep}


KIND = Kind(prepare, run_card, confined=True)
