"""Damaged COCO files: instances, panoptic segments, semantic masks from instances, and proposals."""

from PIL import Image

from tests.robustness.cases import Kind
from tests.robustness.cases.reading import run_card, write_card
from tests.robustness.mutations import as_json, encoded_text, mutated_bytes, mutated_png, mutated_text, mutated_tree

SIZE = (8, 6)
OBJECT = {"image_id": 1, "category_id": 7, "bbox": [1, 1, 3, 2], "area": 6, "iscrowd": 0}
INSTANCES = {
    "info": {"year": 2017},
    "images": [
        {"id": 1, "file_name": "a.png", "height": 6, "width": 8},
        {"id": 2, "file_name": "sub/b.png", "height": 6, "width": 8, "license": 1},
    ],
    "categories": [{"id": 7, "name": "cat"}, {"id": 9, "name": "dog"}],
    "annotations": [
        {"id": 1, **OBJECT, "segmentation": [[1, 1, 4, 1, 4, 3, 1, 3], [5, 5, 6, 5, 6, 6]]},
        {"id": 2, **OBJECT, "segmentation": {"size": [6, 8], "counts": [10, 5, 33]}},
        {"id": 3, **OBJECT, "segmentation": {"size": [6, 8], "counts": ":5Q1"}, "iscrowd": 1},
        {"id": 4, **OBJECT, "image_id": 2, "category_id": 9, "segmentation": [[1, 1, 4, 1, 4, 3]]},
    ],
}
PANOPTIC = {
    **INSTANCES,
    "annotations": [
        {"image_id": 1, "file_name": "m.png", "segments_info": [{"id": 261, "category_id": 9, "iscrowd": 0}]},
        {"image_id": 2, "file_name": "m.png", "segments_info": [{"id": 261, "category_id": 7}]},
    ],
}
PROPOSALS = {"1": [[0, 0, 4, 4], [1, 1, 3, 3]], "2": [[0.5, 0, 8, 6]]}


def prepare(rng, folder):
    write_images(folder)
    kind = rng.choice(["coco", "coco", "coco", "coco_semantic", "coco_panoptic", "proposals"])
    data_format = "coco" if kind == "proposals" else kind
    split = split_of(data_format)
    if kind == "coco_panoptic" and rng.random() < 0.2:
        (folder / "m.png").write_bytes(mutated_png(rng, (folder / "m.png").read_bytes()))
    content = PANOPTIC if kind == "coco_panoptic" else INSTANCES
    proposals = {}
    if kind == "proposals":
        (folder / "p.json").write_bytes(damaged(rng, PROPOSALS))
        (folder / "i.json").write_text(as_json(INSTANCES))
        proposals = {"proposals": {"file": "p.json", "count": 5, "folder": ""}}
    else:
        (folder / "i.json").write_bytes(damaged(rng, content))
    write_card(folder, format=data_format, splits={"train": split, "val": split}, **proposals)
    return [rng.choice(["check", "read", "read"])]


def write_images(folder):
    """Write the images and the panoptic mask that the files name."""
    (folder / "sub").mkdir()
    for name, color in (("a.png", 0), ("sub/b.png", 90), ("m.png", (5, 1, 0))):
        Image.new("RGB", SIZE, color).save(folder / name)


def split_of(data_format):
    """Return the options of a split of a format."""
    masks = {"coco": {"masks": True}, "coco_panoptic": {"masks": ""}}
    return {"annotations": "i.json", **masks.get(data_format, {})}


def damaged(rng, content):
    """Return the bytes of a JSON file with changed values, characters or bytes."""
    choice = rng.random()
    if choice < 0.75:
        return as_json(mutated_tree(rng, content)).encode()
    if choice < 0.9:
        return encoded_text(rng, mutated_text(rng, as_json(content)))
    return mutated_bytes(rng, as_json(content).encode())


KIND = Kind(prepare, run_card, confined=True)
