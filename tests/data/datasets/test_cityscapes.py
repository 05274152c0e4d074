import numpy as np
import pytest
from PIL import Image

from visionkit.data.datasets.cityscapes import CLASSES, Cityscapes
from visionkit.errors import DataError


@pytest.fixture
def root(tmp_path):
    """One image of each of two cities, with the files beside a mask."""
    for city in ("bonn", "ulm"):
        name = f"{city}_000000_000019"
        images, masks = tmp_path / "leftImg8bit" / "val" / city, tmp_path / "gtFine" / "val" / city
        images.mkdir(parents=True)
        masks.mkdir(parents=True)
        Image.new("RGB", (34, 1)).save(images / f"{name}_leftImg8bit.png")
        Image.fromarray(np.arange(34, dtype=np.uint8)[None]).save(masks / f"{name}_gtFine_labelIds.png")
        for other in ("color.png", "instanceIds.png"):
            Image.new("RGB", (34, 1)).save(masks / f"{name}_gtFine_{other}")
        (masks / f"{name}_gtFine_polygons.json").touch()
    return tmp_path


def test_label_ids_become_the_classes_that_are_scored(root):
    data = Cityscapes(root, "val")
    assert [data.name(index) for index in range(len(data))] == [
        f"{city}/{city}_000000_000019_leftImg8bit.png" for city in ("bonn", "ulm")
    ]
    mask = data[1].semantic[0].tolist()
    assert [mask.index(number) for number in range(19)] == [kind.label_id for kind in CLASSES] == data.category_ids
    assert mask.count(255) == 34 - 19
    assert (mask[7], mask[9], mask[18], mask[29], mask[30], mask[33]) == (0, 255, 255, 255, 255, 18)
    assert (data.class_names[0], data.class_names[13], data.class_colors[13]) == ("road", "car", (0, 0, 142))
    assert not data.report


def test_ids_that_do_not_exist_and_missing_masks_are_named(root):
    masks = root / "gtFine" / "val" / "ulm"
    Image.new("L", (34, 1), 34).save(masks / "ulm_000000_000019_gtFine_labelIds.png")
    with pytest.raises(DataError, match=r"ulm_000000_000019_gtFine_labelIds.png has the values 34"):
        Cityscapes(root, "val")[1]
    (masks / "ulm_000000_000019_gtFine_labelIds.png").unlink()
    with pytest.raises(DataError, match=r"1 of 2 images have no mask .*: ulm/ulm_000000_000019_leftImg8bit.png"):
        Cityscapes(root, "val")
    with pytest.raises(DataError, match=r"gtCoarse.*does not exist"):
        Cityscapes(root, "val", annotations="gtCoarse")
    with pytest.raises(DataError, match=r"data.classes must be left out"):
        Cityscapes(root, "val", classes=["road"])
