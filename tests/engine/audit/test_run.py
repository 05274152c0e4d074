"""Each planted fault gives its finding, and nothing else is found in a clean dataset."""

import cv2
import numpy as np
import pytest
from PIL import Image

import visionkit as vk
from tests.helpers.small_audit import add_box, write_card, write_shapes
from visionkit.data.datasets.repair_boxes import record_repairs
from visionkit.engine.audit.finding import SEVERITIES, checks
from visionkit.engine.audit.run import run_audit
from visionkit.engine.audit.subject import read_subject

ABOUT_THE_WHOLE = {"classes without examples", "classes with few examples", "split shift", "class imbalance"}


@pytest.fixture
def faulty(tmp_path):
    """Contents of COCO files of 24 + 8 images, whose folder is `tmp_path`."""
    return write_shapes(tmp_path, {"train": 24, "val": 8})


def found(tmp_path, contents):
    """Return the findings about images by kind."""
    card = write_card(tmp_path, contents)
    splits = {split: {"annotations": f"{split}.json", "images": split} for split in contents}
    data = vk.VisionData("coco", root=str(card.parent), splits=splits, num_workers=0)
    report = run_audit(read_subject(data))
    return {kind: findings for kind, findings in report.by_kind.items() if kind not in ABOUT_THE_WHOLE}


def first_box(contents, image=3):
    return next(entry for entry in contents["train"]["annotations"] if entry["image_id"] == image)


def test_a_clean_dataset_has_no_findings(tmp_path, faulty):
    assert found(tmp_path, faulty) == {}


CHANGES = {
    "the same": lambda image: image,
    "mirrored": lambda image: image[:, ::-1],
    "rotated": lambda image: np.rot90(image),
    "brighter": lambda image: cv2.convertScaleAbs(image, alpha=0.9, beta=30),
    "smaller": lambda image: cv2.resize(image, (60, 60), interpolation=cv2.INTER_AREA),
    "cropped": lambda image: image[4:92, 7:95],
}


@pytest.mark.parametrize("change", CHANGES)
def test_copies_across_splits(change, tmp_path, faulty):
    original = np.asarray(Image.open(tmp_path / "val" / "5.png"))
    copy = np.ascontiguousarray(CHANGES[change](original))
    Image.fromarray(copy).save(tmp_path / "train" / "copy.jpg", quality=80)
    height, width = copy.shape[:2]
    faulty["train"]["images"].append({"id": 99, "file_name": "copy.jpg", "height": height, "width": width})
    add_box(faulty["train"], 99, [10, 10, 40, 40], 0)
    (finding,) = found(tmp_path, faulty).pop("duplicate images across splits")
    assert finding.severity == "error"
    assert [(ref.split, ref.index) for ref in finding.images] == [("train", 24)]
    assert [(ref.split, ref.index) for ref in finding.related] == [("val", 5)]
    assert finding.excluded == finding.images


def test_copies_in_a_split_are_no_error(tmp_path, faulty):
    (tmp_path / "train" / "7.png").write_bytes((tmp_path / "train" / "2.png").read_bytes())
    (finding,) = found(tmp_path, faulty).pop("duplicate images in a split")
    assert finding.severity == "warning"
    assert "their numbers of objects differ" in finding.message or "objects" not in finding.message
    assert not finding.excluded


def test_a_truncated_file(tmp_path, faulty):
    path = tmp_path / "train" / "2.png"
    path.write_bytes(path.read_bytes()[:200])
    (finding,) = found(tmp_path, faulty)["unreadable images"]
    assert finding.severity == "error"
    assert finding.images[0].index == 2
    assert "2.png" in finding.message


def test_duplicate_boxes_and_two_classes_at_one_place(tmp_path, faulty):
    for image, change, label in ((1, 0.3, 0), (2, 3.5, 0), (3, 0.0, 1)):
        left, top, width, height = 20, 20, 40, 40
        add_box(faulty["train"], image, [left, top, left + width, top + height], 0)
        add_box(faulty["train"], image, [left + change, top, left + width + change, top + height], label)
    kinds = found(tmp_path, faulty)
    assert [finding.images[0].index for finding in kinds["duplicate boxes"]] == [1]
    assert kinds["duplicate boxes"][0].severity == "error"
    last = len([entry for entry in faulty["train"]["annotations"] if entry["image_id"] == 1]) - 1
    assert kinds["duplicate boxes"][0].excluded[0].objects == (last,)
    assert [finding.images[0].index for finding in kinds["near-duplicate boxes"]] == [2]
    assert [finding.images[0].index for finding in kinds["boxes of two classes at one place"]] == [3]


def test_tiny_boxes_and_boxes_outside_the_image(tmp_path, faulty):
    add_box(faulty["train"], 4, [10, 10, 13, 12], 0)
    add_box(faulty["train"], 5, [60, 60, 140, 90], 0)
    add_box(faulty["train"], 6, [100, 120, 120, 130], 0)
    kinds = found(tmp_path, faulty)
    assert [finding.images[0].index for finding in kinds["tiny boxes"]] == [4]
    repaired = sorted(kinds["boxes repaired by the reader"], key=lambda finding: finding.images[0].index)
    assert [finding.images[0].index for finding in repaired] == [5, 6]
    assert "clipped" in repaired[0].message
    assert "dropped" in repaired[1].message


def test_boxes_unusual_for_their_class(tmp_path):
    contents = write_shapes(tmp_path, {"train": 30})
    for image in range(30):
        add_box(contents["train"], image, [30, 30, 50 + image % 3, 50 - image % 2], 5)
    contents["train"]["categories"].append({"id": 9, "name": "dot"})
    for entry in contents["train"]["annotations"]:
        if entry["category_id"] == 6 and entry["bbox"][0] == 30 and entry["bbox"][2] in (20, 21, 22):
            entry["category_id"] = 9
    first_box(contents, 8)["category_id"] = 9
    first_box(contents, 8)["bbox"] = [0, 0, 95, 95]
    (finding,) = found(tmp_path, contents)["unusually large boxes"]
    assert finding.images[0].index == 8
    assert finding.images[0].objects == (0,)


def test_frames_of_one_video_in_two_splits(tmp_path):
    contents = write_shapes(tmp_path, {"train": 24, "val": 8})
    for split, index, name in (("train", 3, "clip_1.png"), ("train", 4, "clip_2.png"), ("val", 2, "clip_3.png")):
        (tmp_path / split / f"{index}.png").rename(tmp_path / split / name)
        contents[split]["images"][index]["file_name"] = name
    (finding,) = found(tmp_path, contents)["images of one scene across splits"]
    assert finding.severity == "warning"  # the images are not alike
    assert [ref.index for ref in finding.images] == [3, 4]
    assert "'clip'" in finding.message


def test_masks_are_compared_with_boxes(tmp_path):
    from pycocotools import mask as rle

    contents = write_shapes(tmp_path, {"train": 6})
    for entry in contents["train"]["annotations"]:
        left, top, width, height = (round(value) for value in entry["bbox"])
        mask = np.zeros((96, 96), np.uint8, order="F")
        mask[top : top + max(height, 1), left : left + max(width, 1)] = 1
        code = rle.encode(mask)
        entry["segmentation"] = {"size": [96, 96], "counts": code["counts"].decode()}
        entry["area"] = float(width * height)
    moved = first_box(contents)
    moved["bbox"] = [0, 0, 20, 8] if moved["bbox"][0] > 30 or moved["bbox"][1] > 30 else [60, 60, 30, 30]
    card = write_card(tmp_path, contents)
    options = {"train": {"annotations": "train.json", "images": "train", "masks": True}}
    report = run_audit(read_subject(vk.VisionData("coco", root=str(card.parent), splits=options, num_workers=0)))
    (finding,) = report.by_kind["boxes that do not fit their mask"]
    assert finding.images[0].index == 3


def test_copies_with_different_classes(tmp_path):
    for label, index in (("cat", 0), ("cat", 1), ("dog", 2), ("dog", 3)):
        (tmp_path / "photos" / label).mkdir(parents=True, exist_ok=True)
        image = np.random.default_rng(index % 3).integers(0, 256, (40, 40, 3), np.uint8)
        Image.fromarray(image).save(tmp_path / "photos" / label / f"{index}.png")
    data = vk.VisionData("folder", root=str(tmp_path), splits={"train": {"path": "photos"}}, num_workers=0)
    (finding,) = run_audit(read_subject(data)).by_kind["duplicate images with different classes"]
    assert finding.severity == "error"
    assert "cat / dog" in finding.message


def test_semantic_masks(tmp_path):
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    for index in range(4):
        image = np.random.default_rng(index).integers(0, 256, (32, 32, 3), np.uint8)
        Image.fromarray(image).save(tmp_path / "images" / f"{index}.png")
        mask = np.full((32, 32), 2, np.uint8)
        mask[: 8 + 4 * (index % 3), :] = 0
        mask[20:, 20:] = 1
        Image.fromarray(np.full_like(mask, 2) if index == 1 else mask).save(tmp_path / "masks" / f"{index}.png")
    options = {"images": "images", "masks": "masks", "values": {0: "a", 1: "b", 2: "ignore"}}
    data = vk.VisionData("masks", root=str(tmp_path), classes=["a", "b"], splits={"train": options}, num_workers=0)
    kinds = run_audit(read_subject(data)).by_kind
    assert [finding.images[0].index for finding in kinds["ignored masks"]] == [1]
    assert [ref.index for ref in kinds["one mask for several images"][0].images] == [0, 3]


def test_every_check_says_what_it_measured_or_why_not(tmp_path, faulty):
    card = write_card(tmp_path, faulty)
    splits = {split: {"annotations": f"{split}.json", "images": split} for split in faulty}
    data = vk.VisionData("coco", root=str(card.parent), splits=splits, num_workers=0)
    report = run_audit(read_subject(data))
    assert {made.name for made in report.made} <= {*checks}
    assert all(made.result.measured for made in report.made)
    assert not next(made for made in report.made if made.name == "object_suspects").result.was_made
    assert sum(map(report.count, SEVERITIES)) == len(report.findings)


def test_repairs_are_recorded_only_inside(tmp_path, faulty):
    add_box(faulty["train"], 6, [100, 120, 120, 130], 0)
    write_card(tmp_path, faulty)
    from visionkit.data.datasets.coco import Coco

    with record_repairs() as repairs:
        Coco(tmp_path, "train.json", "train")
    Coco(tmp_path, "train.json", "train")
    assert [repair.image for repair in repairs] == ["6"]  # the id


def write_frames(tmp_path, names):
    """Write images of classes that are parts of a few wide scenes, one scene for each first letter of a name."""
    for split, files in names.items():
        for number, name in enumerate(files):
            left = 3 * int(name[-5]) if name[-5].isdigit() else 0
            scene = cv2.GaussianBlur(np.random.default_rng(ord(name[0])).random((60, 140)), (0, 0), 4)
            scene = (255 * (scene - scene.min()) / np.ptp(scene)).astype(np.uint8)
            folder = tmp_path / split / ("even", "odd")[number % 2]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(scene[:, left : left + 60]).save(folder / name)
    splits = {split: {"path": split} for split in names}
    return vk.VisionData("folder", root=str(tmp_path), splits=splits, num_workers=0)


def test_scenes_that_look_alike_are_errors(tmp_path):
    train = [f"{scene}_{frame}.png" for scene in "abcd" for frame in range(3)]
    data = write_frames(tmp_path, {"train": [*train, "x_0.png", "x_1.png"], "val": ["x_2.png", "q_1.png", "r_1.png"]})
    kinds = run_audit(read_subject(data)).by_kind
    (finding,) = kinds["images of one scene across splits"]
    assert finding.severity == "error"
    train = data.dataset("train")
    assert {train[ref.index].file_name.rpartition("/")[2] for ref in finding.images} == {"x_0.png", "x_1.png"}


def test_a_given_rule_is_believed(tmp_path):
    names = {"train": [f"p{index}a.png" for index in range(6)], "val": ["p2b.png", "z1.png", "z2.png"]}
    data = write_frames(tmp_path, names)
    subject = read_subject(data)
    subject.group_rule = r"(p\d)"
    (finding,) = run_audit(subject).by_kind["images of one scene across splits"]
    assert finding.severity == "error"
    assert [ref.split for ref in finding.images] == ["train"]
    assert finding.excluded == finding.images
