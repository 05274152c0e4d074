"""Small YOLO datasets on disk."""

from PIL import Image

SIZE = (64, 48)
"""Width and height of the images."""


def write_yolo(folder, labels, split="train", description="names: [cat, dog]\n"):
    """Write `images/<split>/` and `labels/<split>/`, with a text per image; None writes no label file."""
    for name in ("images", "labels"):
        (folder / name / split).mkdir(parents=True)
    for name, text in labels.items():
        Image.new("RGB", SIZE).save(folder / "images" / split / f"{name}.png")
        if text is not None:
            (folder / "labels" / split / f"{name}.txt").write_text(text)
    (folder / "data.yaml").write_text(f"{split}: images/{split}\n{description}")
    return folder
