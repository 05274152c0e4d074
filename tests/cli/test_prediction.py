"""`visionkit predict`: no result is lost, and nothing of the user is overwritten."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.helpers.small_classifier import small_checkpoint
from tests.helpers.small_disk import small_disk
from visionkit.cli.main import main
from visionkit.cli.prediction_files import result_names
from visionkit.pipelines import base


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return str(small_checkpoint(tmp_path_factory.mktemp("run") / "best.ckpt", ["cat", "dog"]))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working folder, with three images of which the second is broken."""
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "c.png"):
        Image.fromarray(np.full((40, 50, 3), 90, np.uint8)).save(name)
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:60])
    return tmp_path


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_broken_image_is_skipped_and_said(checkpoint, folder, capsys):
    assert main(["predict", checkpoint, "a.png", "b.png", "c.png", "--output", "out"]) == 1
    printed = capsys.readouterr()
    assert "the image b.png cannot be read" in printed.err + printed.out
    assert "1 of 3 images were skipped" in printed.out
    rows = json.loads((folder / "out" / "predictions.json").read_text())
    assert [row["image"] for row in rows] == ["a.png", "c.png"]
    assert {*os.listdir("out")} == {"a.png", "c.png", "predictions.json"}
    assert main(["predict", checkpoint, "a.png", "c.png", "--output", "out"]) == 0, "its own images are overwritten"


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_what_is_done_is_kept_when_the_command_is_stopped(error, checkpoint, folder, monkeypatch):
    read = base.read_image
    monkeypatch.setattr(
        base, "read_image", lambda path, depth: read(path, depth) if path.name == "a.png" else stop(error)
    )
    if error is KeyboardInterrupt:
        assert main(["predict", checkpoint, "a.png", "c.png", "--output", "out"]) == 130
    else:
        assert main(["predict", checkpoint, "a.png", "c.png", "--output", "out"]) == 3
    rows = [json.loads(line) for line in (folder / "out" / "predictions.jsonl").read_text().splitlines()]
    assert [row["image"] for row in rows] == ["a.png"]
    assert not (folder / "out" / "predictions.json").exists()


def stop(error):
    raise error


def test_an_input_is_never_overwritten(checkpoint, folder, capsys):
    (folder / "out").mkdir()
    (folder / "out" / "c.png").symlink_to(folder / "c.png")
    os.link(folder / "a.png", folder / "out" / "a.png")
    (folder / "link").symlink_to(folder)
    before = contents(folder)
    for words in (
        ["a.png", "--output", "."],
        [".", "--output", "link"],
        ["a.png", "--output", "out"],
        ["c.png", "--output", "out"],
    ):
        assert main(["predict", checkpoint, *words]) == 2
        assert "is an input, and a result would be written onto it" in capsys.readouterr().err
    assert contents(folder) == before


def test_another_image_of_the_user_is_not_overwritten(checkpoint, folder, capsys):
    Image.open("a.png").convert("RGB").save("a.jpg")
    before = contents(folder)
    assert main(["predict", checkpoint, "a.jpg", "--output", "."]) == 2
    assert "a.png was not written by visionkit predict, and is not overwritten" in capsys.readouterr().err
    assert contents(folder) == before


def test_images_of_one_name_get_different_results(checkpoint, folder):
    for name in ("x/a.png", "y/a.jpg", "y/a-2.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        Image.open("a.png").convert("RGB").save(name)
    assert main(["predict", checkpoint, "a.png", "x", "y", "a.png", "--output", "out"]) == 0
    rows = json.loads((folder / "out" / "predictions.json").read_text())
    drawn = [row["drawn"] for row in rows]
    assert len({*drawn}) == len(drawn) == 4
    assert {*os.listdir("out")} == {*drawn, "predictions.json"}


def test_names_differ_also_where_the_case_is_ignored():

    names = result_names([Path(name) for name in ("a.png", "A.jpg", "a-2.png", "b/a.png")])
    assert names == ["a.png", "A-2.png", "a-2-2.png", "a-3.png"]


def test_a_full_disk_is_an_error_of_a_few_lines(checkpoint, folder, capsys):

    with small_disk(folder / "disk", "4k") as disk:
        assert main(["predict", checkpoint, "a.png", "c.png", "--output", str(disk)]) == 2
    message = capsys.readouterr().err
    assert "No space left on device" in message
    assert "Traceback" not in message
