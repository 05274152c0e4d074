"""`data.bit_depth`: images with 16 bits that use fewer, the same in training, evaluation and prediction."""

import json

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

import visionkit as vk
from tests.helpers.every_format import FORMATS, SCALED, VALUES, WITHOUT_FILES, folder, save
from tests.helpers.small_classifier import small_classification
from tests.helpers.small_trainer import small_trainer
from visionkit.cli.config.compose import compose, from_checkpoint
from visionkit.cli.main import main
from visionkit.data.datasets.base import formats
from visionkit.data.datasets.folder import FolderDataset
from visionkit.data.datasets.subset import SubsetDataset
from visionkit.data.io.images import read_image
from visionkit.data.stats.check import check
from visionkit.errors import ConfigError, DataError


def test_every_format_is_in_one_of_both_lists():
    assert {*FORMATS, *WITHOUT_FILES} == {name for name in formats if ".datasets." in formats.get(name).__module__}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_with_image_files_takes_it(name, tmp_path):
    splits = {"train": FORMATS[name](tmp_path)}
    read = [vk.VisionData(name, str(tmp_path), splits, bit_depth=depth).dataset("train")[0].image for depth in (12, 16)]
    np.testing.assert_array_equal(read[0], SCALED)
    np.testing.assert_array_equal(read[1][..., 0], VALUES // 257)


@pytest.mark.parametrize("name", WITHOUT_FILES)
def test_a_format_without_image_files_refuses_it(name, monkeypatch):
    data = vk.VisionData(name, splits={"train": {}}, bit_depth=12)
    monkeypatch.setattr(formats.get(name), "__init__", lambda self, **options: None)
    with pytest.raises(ConfigError, match=rf"bit_depth=12 is for .* format {name} decodes none\nremove data.bit_depth"):
        data.dataset("train")


def test_parts_of_a_split_and_held_out_images_are_read_by_it(tmp_path):
    for name in "ab":
        folder(tmp_path / name)
    parts = {"train": [{"path": "a"}, {"path": "b"}]}
    options = {"holdout": vk.HoldoutOptions(fraction=0.5), "bit_depth": 12}
    data = vk.VisionData("folder", str(tmp_path), parts, **options)
    for split in ("train", "val"):
        assert [sample.image.max() for sample in map(data.dataset(split).__getitem__, range(2))] == [255, 255]


def test_datasets_made_in_python_take_it(tmp_path):
    folder(tmp_path)
    pairs = [(Image.fromarray(VALUES), 0), (Image.fromarray(SCALED), 1)]
    data = vk.VisionData.from_datasets(
        train=pairs, val=FolderDataset(tmp_path), class_names=["cat", "dog"], bit_depth=12
    )
    assert data.bit_depth == 12
    for split in ("train", "val"):
        for index in range(2):
            np.testing.assert_array_equal(data.dataset(split)[index].image, SCALED)
    subset = vk.VisionData.from_datasets(test=SubsetDataset(FolderDataset(tmp_path), [0]), bit_depth=12)
    with pytest.raises(ConfigError, match=r"bit_depth=12 .* the dataset of test decodes none"):
        subset.dataset("test")


@pytest.mark.parametrize("depth", [8, 17, 0, float("nan"), "12"])
def test_another_number_of_bits_is_refused(depth):
    with pytest.raises(ConfigError, match=r"bit_depth=.* must be"):
        vk.VisionData("folder", bit_depth=depth)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("depth", [9, 10, 12, 14, 16])
def test_values_are_scaled_by_the_largest_of_the_depth(suffix, depth, tmp_path):
    largest = 2**depth - 1
    values = np.array([[0, 1, largest // 2, largest - 1, largest]], np.uint16)
    save(tmp_path / f"a{suffix}", values)
    read = read_image(tmp_path / f"a{suffix}", depth)
    assert read[0, :, 0].tolist() == [value * 255 // largest for value in values[0].tolist()]
    assert (read == read[..., :1]).all()


def test_a_larger_value_is_an_error_that_names_file_value_and_option(tmp_path):
    for name, values in (("a.png", VALUES + np.uint16(1)), ("b.tif", np.full((2, 3), 5000, np.int32))):
        save(tmp_path / name, values)
        message = rf"{name} has the value {values.max()}, above 4095, the largest of bit_depth=12\nset data.bit_depth"
        with pytest.raises(DataError, match=message + " to at least 13"):
            read_image(tmp_path / name, 12)
        assert read_image(tmp_path / name).max() == values.max() // 257


def test_a_larger_value_is_no_broken_file_to_be_skipped(tmp_path):
    options = {**folder(tmp_path), "on_bad_file": "skip"}
    dataset = vk.VisionData("folder", str(tmp_path), {"train": options}, bit_depth=11).dataset("train")
    with pytest.raises(DataError, match="has the value 4095, above 2047, the largest of bit_depth=11"):
        dataset[0]


def test_eight_bits_are_unaffected(tmp_path):
    gray = np.arange(256, dtype=np.uint8).reshape(16, 16)
    for name in ("a.png", "a.jpg", "a.tif", "a.bmp", "a.gif", "a.webp", "a.pgm"):
        save(tmp_path / name, gray)
        np.testing.assert_array_equal(read_image(tmp_path / name, 12), read_image(tmp_path / name))
    save(tmp_path / "color.png", SCALED)
    np.testing.assert_array_equal(read_image(tmp_path / "color.png", 12), SCALED)


def color_file(suffix):
    return cv2.imencode(suffix, np.repeat(VALUES[..., None], 3, axis=2))[1].tobytes()


SCALED_BY_PILLOW = {
    "color.png": lambda: color_file(".png"),
    "color.tif": lambda: color_file(".tiff"),
    "color.ppm": lambda: color_file(".ppm"),
    "maximum.pgm": lambda: b"P5 60 40 4095\n" + VALUES.astype(">u2").tobytes(),
}


@pytest.mark.parametrize("name", SCALED_BY_PILLOW)
def test_files_whose_values_pillow_scales_are_not_scaled_again(name, tmp_path):
    (tmp_path / name).write_bytes(SCALED_BY_PILLOW[name]())
    assert read_image(tmp_path / name).shape == SCALED.shape
    with pytest.raises(
        DataError, match=rf"bit_depth=12 is for gray images; .*{name} has colors of 16 bits, or is a PGM"
    ):
        read_image(tmp_path / name, 12)


def test_a_gray_pgm_without_a_maximum_of_its_own_is_scaled(tmp_path):
    (tmp_path / "a.pgm").write_bytes(b"P5 60 40 65535\n" + VALUES.astype(">u2").tobytes())
    np.testing.assert_array_equal(read_image(tmp_path / "a.pgm", 12), SCALED)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A checkpoint of a classifier that was trained on images of 12 bits, and their folder."""
    root = tmp_path_factory.mktemp("run")
    for name in ("cat", "dog"):
        for number in range(2):
            save(root / "photos" / name / f"{number}.png")
    splits = {"train": {"path": ""}, "val": {"path": ""}}
    data = vk.VisionData("folder", str(root / "photos"), splits, batch_size=2, num_workers=0, bit_depth=12)
    task, trainer = small_classification(data.class_names), small_trainer()
    trainer.fit(task, data)
    trainer.save_checkpoint(root / "a.ckpt")
    return root / "a.ckpt", root / "photos"


def test_a_checkpoint_predicts_on_files_as_it_was_trained(trained, tmp_path, monkeypatch):
    path, photos = trained
    pipeline = vk.load(path, device="cpu")
    assert pipeline.bit_depth == vk.Task.load_from_checkpoint(path).pipeline.bit_depth == 12
    from_file, from_array = pipeline.predict([photos / "cat" / "0.png", SCALED])
    np.testing.assert_array_equal(from_file.scores, from_array.scores)
    dark = pipeline.predict((VALUES // 257).astype(np.uint8)[..., None].repeat(3, axis=2))[0]
    assert not np.array_equal(dark.scores, from_file.scores)
    monkeypatch.chdir(tmp_path)
    assert main(["predict", str(path), str(photos / "cat" / "0.png"), "--output", "out", "--score-threshold", "0"]) == 0
    (row,) = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert [entry["score"] for entry in row["classes"]] == pytest.approx(from_file.scores.tolist(), abs=1e-4)


def test_too_large_values_are_skipped_and_said_by_predict(trained, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "bright.png", VALUES * np.uint16(2))
    assert main(["predict", str(trained[0]), "bright.png", "--output", "out"]) == 1
    printed = capsys.readouterr()
    assert "bright.png has the value 8190, above 4095" in printed.err + printed.out


def test_members_of_an_ensemble_read_files_in_one_way(trained):
    pipelines = [vk.load(trained[0], device="cpu") for _ in range(2)]
    file = trained[1] / "dog" / "1.png"
    together = vk.make_ensemble(pipelines).predict(file)[0]
    np.testing.assert_allclose(together.scores, pipelines[0].predict(file)[0].scores, atol=1e-6)
    pipelines[1].bit_depth = None
    with pytest.raises(vk.CheckpointError, match=r"checkpoint 2 reads .* bit_depth=None, the first with bit_depth=12"):
        vk.make_ensemble(pipelines)


def test_a_checkpoint_of_before_reads_all_bits(trained, tmp_path):
    checkpoint = torch.load(trained[0], weights_only=True)
    del checkpoint["visionkit"]["bit_depth"]
    torch.save(checkpoint, tmp_path / "a.ckpt")
    assert vk.load(tmp_path / "a.ckpt", device="cpu").bit_depth is None


def test_a_checkpoint_is_scored_by_the_card_it_was_trained_with_or_by_another(tmp_path):
    recipe = {"data": {"format": "folder", "root": "photos", "bit_depth": 12, "num_workers": 0}}
    assert from_checkpoint(recipe)["data"]["bit_depth"] == 12
    assert compose(["data.root=others"], onto=recipe).values["data"]["bit_depth"] == 12
    card = tmp_path / "card.yaml"
    card.write_text("data: {format: folder, root: others, splits: {test: {path: test}}}\n")
    assert "bit_depth" not in compose([str(card)], onto=recipe).values["data"]


def test_check_warns_of_images_that_use_a_sixteenth_of_their_range(tmp_path, capsys):
    folder(tmp_path / "narrow")
    folder(tmp_path / "wide")
    save(tmp_path / "wide" / "cat" / "a.png", VALUES * np.uint16(2))
    folder(tmp_path / "eight")
    for name in ("cat", "dog"):
        save(tmp_path / "eight" / name / "a.png", np.zeros((40, 60), np.uint8))
    save(tmp_path / "narrow" / "cat" / "bright.png", np.full((40, 60), 255, np.uint8))
    warned = {name: check(FolderDataset(tmp_path / name)).nearly_black for name in ("narrow", "wide", "eight")}
    assert warned == {"narrow": True, "wide": False, "eight": False}
    assert check(SubsetDataset(FolderDataset(tmp_path / "narrow"), [0])).nearly_black
    card = tmp_path / "card.yaml"
    card.write_text(f"data: {{format: folder, root: {tmp_path}/narrow, splits: {{train: {{path: ''}}}}}}\n")
    assert main(["data", "check", str(card)]) == 0
    assert "WARNING images with 16 bits are nearly black" in (printed := capsys.readouterr().out)
    assert "set data.bit_depth: 12" in printed
    for depth in (12, 16):
        assert main(["data", "check", str(card), f"data.bit_depth={depth}"]) == 0
        assert "WARNING" not in capsys.readouterr().out
    assert main(["data", "check", str(card), "data.bit_depth=11"]) == 1
    assert "PROBLEM the image" in (printed := capsys.readouterr().out)
    assert "has the value 4095, above 2047, the largest of bit_depth=11" in printed
