"""`visionkit data convert`."""

import json
import os

import pytest
import yaml

from tests.helpers.export_source import write_source
from visionkit.cli.main import main
from visionkit.data.export import yolo
from visionkit.data.export.labelme import LabelmeWriter


@pytest.fixture
def card(tmp_path, monkeypatch):
    """A card in the working folder, whose dataset is `source`."""
    monkeypatch.chdir(tmp_path)
    write_source(tmp_path / "source")
    splits = {split: {"annotations": f"{split}.json", "images": split} for split in ("train", "val")}
    (tmp_path / "mine.yaml").write_text(
        yaml.safe_dump({"data": {"format": "coco", "root": "source", "splits": splits}})
    )
    return "mine.yaml"


def test_losses_are_printed_before_and_a_comparison_after_writing(card, tmp_path, capsys):
    assert main(["data", "convert", card, "--to", "yolo", "out", "--check"]) == 0
    printed = capsys.readouterr().out
    assert printed.index("1 masks have holes, which are filled") < printed.index("6 images in 2 splits: out")
    assert printed.index("1 crowd regions are not written") < printed.index("mask IoU, holes filled")
    assert "DIFFERS" not in printed
    assert main(["data", "check", "out/card.yaml"]) == 0


def test_masks_are_converted_if_there_are_any_and_not_switched_off(card, tmp_path, capsys):
    assert main(["data", "convert", card, "--to", "coco", "with"]) == 0
    assert "the format holds everything" in capsys.readouterr().out
    assert main(["data", "convert", card, "data.splits.train.masks=false", "--to", "coco", "without"]) == 0
    found = {
        name: json.loads((tmp_path / name / "annotations" / "instances_train.json").read_text())["annotations"][0]
        for name in ("with", "without")
    }
    assert ["segmentation" in found[name] for name in ("with", "without")] == [True, False]


def test_boxes_are_converted_where_masks_cannot_be_read(card, tmp_path, capsys):
    path = tmp_path / "source" / "val.json"
    content = json.loads(path.read_text())
    del content["annotations"][0]["segmentation"]
    path.write_text(json.dumps(content))
    assert main(["data", "convert", card, "--to", "yolo", "out", "--split", "val"]) == 0
    printed = " ".join(capsys.readouterr().err.split())
    assert "boxes only, because the masks of objects cannot be read: source/val.json: annotation 1" in printed


def test_an_error_that_is_not_about_masks_is_the_only_message(card, tmp_path, capsys):
    (tmp_path / "source" / "train" / "c.png").unlink()
    assert main(["data", "convert", card, "--to", "coco", "out"]) == 2
    printed = capsys.readouterr().err
    assert "1 images are missing" in printed
    assert "boxes only" not in printed


def test_a_folder_is_taken_in_place_of_a_card_and_its_holdout_is_a_split(card, tmp_path):
    assert main(["data", "convert", card, "--to", "yolo", "first", "--split", "train"]) == 0
    (tmp_path / "first" / "labels" / "train" / "c.txt").write_text("0 0.5 0.5 0.25 0.25\n")
    (tmp_path / "first" / "labels" / "train" / "a b-2.txt").write_text("0 0.5 0.5 0.25 0.25\n")
    assert main(["data", "convert", "first", "--to", "voc", "second", "--check"]) == 0
    sets = tmp_path / "second" / "ImageSets" / "Main"
    counts = {path.stem: len(path.read_text().split()) for path in sets.iterdir()}
    assert counts == {"train": 2, "val": 1}


def test_one_split_is_converted(card, tmp_path):
    assert main(["data", "convert", card, "out", "--to", "voc", "--split", "val"]) == 0
    assert os.listdir(tmp_path / "out" / "ImageSets" / "Main") == ["val.txt"]


def test_images_are_linked(card, tmp_path):
    assert main(["data", "convert", card, "--to", "voc", "out", "--link"]) == 0
    assert os.path.samefile(tmp_path / "out" / "JPEGImages" / "c.png", tmp_path / "source" / "train" / "c.png")


def test_differences_end_with_status_1(card, tmp_path, monkeypatch, capsys):
    shares = yolo._shares
    monkeypatch.setattr(yolo, "_shares", lambda image, index: ["0.01", *list(shares(image, index))[1:]])
    assert main(["data", "convert", card, "--to", "yolo", "out", "--check"]) == 1
    assert "DIFFERS" in capsys.readouterr().out


def test_mistakes_are_errors_and_write_nothing(card, tmp_path, capsys):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a.txt").write_text("mine")
    cases = [
        (["--to", "coco", "full"], "full exists already"),
        (["--to", "cocoo", "out"], "did you mean coco?"),
        (["--to", "masks", "out"], "train has no semantic masks"),
        (["--to", "coco", "out", "--split", "valid"], "no split 'valid'; did you mean val?"),
        (["--to", "coco", "out", "--count", "3"], "--count goes with `visionkit data anchors`"),
    ]
    for words, message in cases:
        assert _status(["data", "convert", card, *words]) == 2
        assert message in capsys.readouterr().err
    assert sorted(os.listdir(tmp_path)) == ["full", "mine.yaml", "source"]


@pytest.mark.parametrize("words", [["--to", "coco"], ["out"]])
def test_format_and_folder_are_needed(card, words, capsys):
    assert _status(["data", "convert", card, *words]) == 2
    assert "takes a card, --to FORMAT, and the folder of the result" in capsys.readouterr().err


def test_a_format_that_is_not_read_has_no_card_and_cannot_be_checked(card, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(LabelmeWriter, "format", "nowhere")
    assert main(["data", "convert", card, "--to", "labelme", "out", "--check"]) == 2
    assert "the format labelme cannot be read here" in capsys.readouterr().err
    assert main(["data", "convert", card, "--to", "labelme", "out"]) == 0
    assert sorted(os.listdir("out")) == ["labels.txt", "train", "val"]


def _status(words):
    """Return the exit status, also if the parser of the arguments ends the program."""
    try:
        return main(words)
    except SystemExit as end:
        return end.code
