"""A small dataset of shapes on disk with faults that are known, and its data card."""

import json

import numpy as np
from PIL import Image

from visionkit.data.datasets.shapes import Shapes


def write_shapes(folder, counts, size=96):
    """Write images of shapes with their boxes as COCO files; return the content of each file by split, not yet written.

    Args:
        folder: folder of the images and files.
        counts: number of images by split.
        size: height and width of the images.
    """
    contents = {}
    for split, count in counts.items():
        dataset = Shapes(split=split, count=count, size=size, empty_share=0.0)
        (folder / split).mkdir(parents=True)
        content = {
            "images": [],
            "annotations": [],
            "categories": [{"id": label + 1, "name": name} for label, name in enumerate(dataset.class_names)],
        }
        for index in range(count):
            sample = dataset[index]
            name = f"{index}.png"
            Image.fromarray(sample.image).save(folder / split / name)
            content["images"].append({"id": index, "file_name": name, "height": size, "width": size})
            for box, label in zip(sample.annotation.boxes, sample.annotation.labels, strict=True):
                add_box(content, index, box, label)
        contents[split] = content
    return contents


def add_box(content, image, box, label):
    """Add an object to the content of a COCO file; `box` is xyxy."""
    left, top, right, bottom = np.asarray(box, float).tolist()
    number = len(content["annotations"]) + 1
    entry = {"id": number, "image_id": image, "category_id": int(label) + 1, "iscrowd": 0}
    content["annotations"].append({**entry, "bbox": [left, top, right - left, bottom - top]})


def write_card(folder, contents):
    """Write the COCO files and the data card, and return its path."""
    for split, content in contents.items():
        (folder / f"{split}.json").write_text(json.dumps(content))
    splits = "".join(f"    {split}: {{annotations: {split}.json, images: {split}}}\n" for split in contents)
    card = folder / "card.yaml"
    card.write_text(f"data:\n  format: coco\n  root: {folder}\n  num_workers: 0\n  splits:\n{splits}")
    return card
