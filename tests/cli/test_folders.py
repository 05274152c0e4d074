"""Folders in place of data cards."""

import yaml

from tests.helpers.photo_folder import write_photos
from visionkit.cli.main import main


def test_init_prints_a_card_that_can_be_checked(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_photos(tmp_path)
    assert main(["data", "init", "photos"]) == 0
    printed = capsys.readouterr()
    assert "there is no val split: 20% of train are held out" in printed.err
    assert yaml.safe_load(printed.out)["data"] == {
        "format": "folder",
        "root": "photos",
        "splits": {"train": {"path": ""}},
        "holdout": {"fraction": 0.2, "seed": 0},
    }
    (tmp_path / "mine.yaml").write_text(printed.out)
    assert main(["data", "check", "mine.yaml"]) == 0
    assert main(["data", "check", "photos/"]) == 0


def test_fit_takes_a_folder_and_says_what_it_is(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_photos(tmp_path)
    assert main(["fit", "transfer_head", "photos", "data.batch_size=3", "--dry-run"]) == 0
    printed = capsys.readouterr()
    assert printed.err.splitlines()[0] == "photos: format folder with the splits train"
    data = yaml.safe_load(printed.out)["data"]
    assert (data["format"], data["root"], data["batch_size"]) == ("folder", "photos", 3)


def test_errors_are_those_of_the_input(tmp_path, capsys):
    assert main(["data", "init", str(tmp_path)]) == 2
    assert "is not recognized; it has no files" in capsys.readouterr().err
    assert main(["fit", "transfer_head", str(tmp_path)]) == 2
    assert main(["data", "init", str(tmp_path), "--format", "yoli"]) == 2
    assert "did you mean yolo" in capsys.readouterr().err


def test_fit_refuses_a_folder_without_train_and_says_what_to_do(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    for split in ("val", "test"):
        write_photos(tmp_path)
        (tmp_path / "photos").rename(tmp_path / "data" / split)
    assert main(["data", "check", "data"]) == 0
    capsys.readouterr()
    assert main(["fit", "transfer_head", "data", "data.batch_size=3"]) == 2
    message = capsys.readouterr().err
    assert "the data has no train split, only val and test" in message
    assert "visionkit data init FOLDER > data/mine.yaml" in message
    assert not (tmp_path / "runs").exists()
