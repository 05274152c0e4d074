import pickle

import numpy as np
import pytest
from PIL import Image

from visionkit.data.datasets.masks import MaskDataset
from visionkit.errors import ConfigError, DataError

VALUES = {0: "membrane", 255: "cell"}
MASK = np.array([[0, 255, 255], [0, 0, 255]], np.uint8)
CLASSES = MASK // 255


@pytest.fixture
def root(tmp_path):
    """Twelve images of 3 x 2 pixels in `images` with masks in `labels`."""
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    for number in range(12):
        Image.new("L", (3, 2), 20 * number).save(tmp_path / "images" / f"{number}.png")
        Image.fromarray(MASK).save(tmp_path / "labels" / f"{number}.png")
    return tmp_path


def opened(root, **options):
    return MaskDataset(root, **{"images": "images", "masks": "labels", "values": VALUES, **options})


def test_images_and_masks_come_together(root):
    masks = opened(root)
    assert (masks.class_names, masks.category_ids, masks.class_colors) == (["membrane", "cell"], [0, 255], None)
    assert [masks.name(index) for index in range(12)] == [f"{number}.png" for number in range(12)]
    sample = masks[3]
    assert (sample.image == 60).all()
    assert sample.image.shape == (2, 3, 3)
    assert sample.semantic.tolist() == masks.semantic(3).tolist() == CLASSES.tolist()
    assert sample.semantic.dtype == np.uint8
    assert (sample.image_id, sample.file_name, sample.label, sample.tags) == ("3.png", "3.png", None, None)
    assert masks.image_size(3) == (2, 3)
    assert masks.has_semantic(3)
    assert len(masks.annotation(3)) == 0
    assert masks.label(3) is masks.tags(3) is None
    assert pickle.loads(pickle.dumps(masks))[3].semantic.tolist() == CLASSES.tolist()


def test_255_is_no_class_and_not_ignored_unless_the_card_says_so(root):
    with pytest.raises(DataError, match=r"labels/0.png has the values 0, 255; neither a class nor `ignore` has 255"):
        opened(root, values=None, classes=["membrane", "cell"]).semantic(0)
    ignoring = opened(root, values={255: "ignore"}, classes=["membrane", "cell"])
    assert ignoring.semantic(0).tolist() == MASK.tolist()


def test_colors_of_the_card_draw_and_those_of_a_palette_do_where_the_card_has_none(root):
    colors = {"cell": [1, 2, 3], "membrane": [[4, 5, 6], [7, 8, 9]]}
    assert opened(root, colors=colors).class_colors == [(4, 5, 6), (1, 2, 3)]
    palette = Image.frombytes("P", (3, 2), MASK.tobytes())
    palette.putpalette([10, 20, 30] + [0] * 762 + [40, 50, 60])
    palette.save(root / "labels" / "0.png")
    assert opened(root).class_colors == [(10, 20, 30), (40, 50, 60)]
    assert opened(root).semantic(0).tolist() == CLASSES.tolist()


def test_masks_in_colors_are_read_by_the_colors_of_the_card(root):
    for number in range(12):
        colored = np.where(MASK[..., None] > 0, np.uint8([9, 0, 0]), np.uint8([0, 9, 0]))
        Image.fromarray(colored.astype(np.uint8)).save(root / "labels" / f"{number}.png")
    masks = opened(root, values=None, colors={"cell": [9, 0, 0], "ignore": [0, 9, 0], "other": [0, 0, 9]})
    assert masks.class_names == ["cell", "other"]
    assert masks.semantic(5).tolist() == (255 - MASK).tolist()


def test_a_image_and_a_mask_of_different_size_are_refused(root):
    Image.new("L", (2, 3)).save(root / "labels" / "4.png")
    with pytest.raises(DataError, match=r"images/4.png has 2 x 3 pixels .*, but its mask has 3 x 2"):
        opened(root)[4]


def test_a_mask_must_lie_over_the_upright_image(root):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("L", (2, 3)).save(root / "images" / "0.png", exif=exif)
    assert opened(root)[0].semantic.tolist() == CLASSES.tolist()
    Image.new("L", (3, 2)).save(root / "images" / "0.png", exif=exif)
    with pytest.raises(DataError, match=r"3 x 2 pixels .*after EXIF rotation.*, but its mask has 2 x 3"):
        opened(root)[0]


@pytest.mark.parametrize("folder", ["images", "labels"])
def test_files_that_cannot_be_read_raise_when_asked_for_or_are_skipped_and_counted(root, folder):
    (root / folder / "7.png").write_text("no image")
    masks = opened(root)
    with pytest.raises(DataError, match=f"{folder}/7.png cannot be read"):
        masks[7]
    kept = opened(root, on_bad_file="skip")
    assert len(kept) == 11
    assert kept.name(7) == "8.png"
    what = {"images": "images", "labels": "masks"}[folder]
    assert kept.report == {f"unreadable {what} skipped": 1}


def test_folds_are_blocks_that_cover_all_images_once(root):
    held = [
        [*map(part.name, range(len(part)))] for part in (opened(root, folds=5, fold=f, held_out=True) for f in range(5))
    ]
    assert [len(names) for names in held] == [3, 3, 2, 2, 2]
    assert [name for names in held for name in names] == [f"{number}.png" for number in range(12)]
    rest = opened(root, folds=5, fold=2)
    assert {rest.name(index) for index in range(len(rest))} == {f"{n}.png" for n in range(12)} - set(held[2])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"fold": 1}, ConfigError, "need folds"),
        ({"held_out": True}, ConfigError, "need folds"),
        ({"folds": 5, "fold": 5}, ConfigError, "fold 5 of 5 with 12 images"),
        ({"folds": 13}, ConfigError, "folds is 2 to 12"),
        ({"masks": "images"}, ConfigError, "have the same folder .* and the same ending"),
        ({"masks": "absent"}, DataError, "absent does not exist"),
        ({"values": {0: "all"}}, DataError, "has 2 to 254 classes"),
        ({"values": {n: f"c{n}" for n in range(255)}}, DataError, "has 2 to 254 classes"),
        ({"list_file": "absent.txt"}, DataError, "annotation file .*absent.txt does not exist"),
    ],
)
def test_options_that_contradict_each_other_are_refused(root, options, error, message):
    with pytest.raises(error, match=message):
        opened(root, **options)


def test_a_list_file_gives_the_order_and_ends_the_search(root):
    (root / "labels" / "alone.png").touch()
    (root / "train.txt").write_text("images/5.png labels/4.png\nimages/1.png labels/1.png\n")
    masks = opened(root, images="", masks="", list_file="train.txt")
    assert [masks.name(index) for index in range(2)] == ["images/5.png", "images/1.png"]
    assert (masks[0].image == 100).all()


def test_more_classes_than_a_mask_can_hold_are_refused(root):
    with pytest.raises(DataError, match="a semantic mask has 2 to 254 classes with different names, not 300"):
        opened(root, values=None, classes=[f"class {k}" for k in range(300)])
    with pytest.raises(DataError, match="2 to 254 classes"):
        opened(root, values={k: f"class {k}" for k in range(300)})


def test_a_list_in_another_encoding_is_named(root):
    (root / "list.txt").write_bytes("café.png café.png".encode("latin-1"))
    with pytest.raises(DataError, match=r"list\.txt is not a UTF-8 text file"):
        opened(root, list_file="list.txt")
