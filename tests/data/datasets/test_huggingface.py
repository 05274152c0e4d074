"""Datasets of the Hugging Face Hub on disk."""

import io
import pickle

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("pyarrow")

from tests.helpers.arrow_files import FEATURES, LABEL, OBJECTS, images, table, write_parquet, write_saved
from visionkit.data.datasets.huggingface import HuggingFace
from visionkit.errors import DataError


@pytest.fixture
def written(tmp_path):
    """A function that writes a Parquet file, and returns the dataset."""

    def write(columns, features=None, **options):
        write_parquet(tmp_path / "train.parquet", columns, features)
        return HuggingFace(tmp_path, "train.parquet", **options)

    return write


def with_objects(objects=OBJECTS):
    return {"image": images(len(objects)), "objects": objects}


def test_boxes_and_named_classes(written):
    dataset = written(with_objects(), FEATURES)
    sample = dataset[0]
    assert (sample.image.shape, sample.image_id, sample.size) == ((48, 64, 3), "train/0", (48, 64))
    assert (sample.annotation.boxes.tolist(), sample.annotation.labels.tolist()) == ([[8, 4, 28, 14]], [1])
    assert (dataset[1].image[0, 0].tolist(), len(dataset.annotation(1))) == ([10, 0, 0], 0)
    assert (dataset.class_names, dataset.report) == (["cat", "dog"], {})


def test_two_corners(written):
    assert written(with_objects(), FEATURES, box_format="xyxy").annotation(0).boxes.tolist() == [[8, 4, 20, 10]]


def test_a_list_of_objects_and_rows_without_value(written):
    objects = [[{"bbox": [8.0, 4.0, 20.0, 10.0], "category": "dog"}], [], None]
    dataset = written(with_objects(objects))
    assert [len(dataset.annotation(index)) for index in range(3)] == [1, 0, 0]
    assert dataset.class_names == ["dog"]


def test_numbers_without_names_need_the_classes_of_the_card(written):
    with pytest.raises(DataError, match=r"without names; list their names in the card: data\.classes"):
        written(with_objects())
    assert written(with_objects(), classes=["a", "b"]).class_names == ["a", "b"]
    with pytest.raises(DataError, match="the class 1 is not the index of a class, 0 to 0"):
        written(with_objects(), classes=["a"])


def test_other_classes_are_skipped_and_counted(written):
    objects = [{"bbox": [[1.0, 1, 9, 9]] * 2, "category": [0, 1]}]
    dataset = written(with_objects(objects), FEATURES, classes=["dog"])
    assert (dataset.class_names, dataset.report) == (["dog"], {"objects of other classes skipped": 1})


def test_a_saved_folder_and_a_copy_in_another_process(tmp_path):
    write_saved(tmp_path / "saved", *[table(with_objects(), FEATURES)] * 2)
    dataset = pickle.loads(pickle.dumps(HuggingFace(tmp_path, "saved")))
    assert [dataset.image_id(index) for index in range(len(dataset))] == [f"saved/{index}" for index in range(4)]
    assert dataset[2].annotation.boxes.tolist() == [[8, 4, 28, 14]]


def test_one_class_per_image(written):
    dataset = written({"img": images(3), "fine": [1, 0, 1]}, {"fine": LABEL}, image_column="img", label_column="fine")
    assert [dataset.label(index) for index in range(3)] == [1, 0, 1]
    assert (dataset.class_names, dataset.image_size(0), dataset[1].image[0, 0].tolist()) == (
        ["cat", "dog"],
        (48, 64),
        [10, 0, 0],
    )


@pytest.mark.parametrize("columns", [{"label": ["a", "b"]}, {"objects": OBJECTS}])
def test_gray_images_of_12_bits(columns, written):
    image = images(2)
    buffer = io.BytesIO()
    Image.fromarray(np.full((48, 64), 4095, np.uint16)).save(buffer, "PNG")
    image[0]["bytes"] = buffer.getvalue()
    dataset = written({"image": image, **columns}, FEATURES)
    dataset.bit_depth = 12
    assert (dataset.bit_depth, dataset[0].image.min()) == (12, 255)


def test_classes_as_text_and_as_numbers_of_the_card(written):
    assert written({"image": images(), "label": ["dog", "cat"]}).class_names == ["cat", "dog"]
    columns = {"image": images(), "label": [0, 1]}
    assert written(columns, classes=["x", "y"]).class_names == ["x", "y"]
    with pytest.raises(DataError, match="list their names in the card"):
        written(columns)
    with pytest.raises(DataError, match=r"data\.classes must be left out or equal the names"):
        written(columns, {"label": LABEL}, classes=["dog", "cat"])


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"image": images()}, "has neither a column objects nor a column label; its columns are image"),
        ({"image": images(), "label": [0, None]}, "entry 1 of the table has the label None"),
        ({"image": images(), "label": [0, 2]}, "the class 2 is not the index of a class, 0 to 1"),
        ({"image": images(), "label": [0, -1]}, "the class -1 is not the index"),
        ({"image": images(), "label": [0.5, 1.0]}, r"has the label 0\.5; it must be an integer or a string"),
        (
            with_objects([{"bbox": [[1.0, 2, 3]], "category": [0]}]),
            r"object of image 'train/0' has the bbox .* 4 numbers",
        ),
        (with_objects([{"bbox": [[1.0, 2, 3, float("nan")]], "category": [0]}]), "with NaN or infinite numbers"),
        (with_objects([{"bbox": [None], "category": [0]}]), "has the bbox None"),
        (with_objects([{"bbox": [[1.0, 2, 3, 4]], "category": [None]}]), "has the category None"),
        (with_objects([{"bbox": [[1.0, 2, 3, 4]], "category": []}]), "row 0: objects must have a list bbox and a list"),
        (with_objects([{"bbox": [[1.0, 2, 3, 4]]}]), "row 0: objects must have a list bbox and a list"),
        (with_objects([3]), "row 0: objects must have a list bbox and a list"),
        (with_objects([{"bbox": [], "category": []}]), "no objects of the classes cat, dog"),
        ({"image": [{"bytes": b"no image"}], "objects": OBJECTS[:1]}, "the image train/0 cannot be read"),
    ],
)
def test_other_tables_are_refused(columns, said, written):
    with pytest.raises(DataError, match=said) as caught:
        written(columns, {**FEATURES, "label": LABEL})
    assert len(str(caught.value).splitlines()) <= 5
