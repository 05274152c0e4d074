"""A folder of photos in two classes."""

from PIL import Image

from visionkit.data.datasets.shapes import Shapes


def write_photos(root):
    """Write twelve images of 64 x 64 pixels as photos/cat/*.jpg and photos/dog/*.jpg."""
    drawn = Shapes(count=12, size=64, max_objects=1, empty_share=0.0)
    for index in range(len(drawn)):
        folder = root / "photos" / ("cat", "dog")[index % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(drawn[index].image).save(folder / f"{index}.jpg")
