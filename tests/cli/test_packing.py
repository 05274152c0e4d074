"""`visionkit data pack`, and training from what it wrote."""

import pytest
import yaml

from tests.helpers.packed_files import serve_folder
from tests.helpers.real_data import real_data
from visionkit.cli.config.compose import compose, from_checkpoint
from visionkit.cli.main import main
from visionkit.data.datasets.packed import Packed

pytest.importorskip("litdata")

SPLIT = "{split: %s, count: %d, size: 32, max_objects: 1, empty_share: 0.0}"
SPLITS = f"data.splits={{train: {SPLIT % ('train', 8)}, val: {SPLIT % ('val', 4)}}}"
WORDS = ["data.format=shapes", SPLITS, "data.num_workers=0"]
SMALL = [
    *("data.batch_size=4", "data.num_workers=0", "trainer.max_epochs=1", "trainer.accelerator=cpu"),
    *("model.backbone.weights=none", "trainer.enable_progress_bar=false"),
]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def test_a_card_is_packed_and_says_how_to_train_from_it(folder, capsys):
    assert main(["data", "pack", *WORDS, "resnet20_cifar10", "out"]) == 0
    said = capsys.readouterr().out
    assert "train: 8 images with 8 objects in 1 shards, " in said
    assert "val: 4 images with 4 objects in 1 shards, " in said
    assert "train from it: visionkit fit RECIPE out/card.yaml" in said
    assert "elsewhere: visionkit fit RECIPE out/card.yaml data.root=URL" in said
    card = yaml.safe_load((folder / "out" / "card.yaml").read_text())
    splits = {"train": {"split": "train"}, "val": {"split": "val"}}
    assert card == {"data": {"format": "packed", "root": "out", "splits": splits}}
    assert main(["data", "check", "out/card.yaml"]) == 0
    assert "8 images" in capsys.readouterr().out


def test_one_split_and_smaller_images(folder):
    options = ["--split", "val", "--short-side", "16", "--quality", "80", "--shard-mb", "1"]
    assert main(["data", "pack", *WORDS, "shapes", "out", *options]) == 0
    packed = Packed(folder / "out", "val")
    assert packed[0].size == (16, 16)
    assert not (folder / "out" / "train").exists()


def test_masks_are_packed_if_the_files_have_them(folder):
    splits = "{val: {annotations: annotations/instances_val2017.json, images: val2017}}"
    words = ["data.format=coco", f"data.root={real_data('coco-mini')}", f"data.splits={splits}", "data.num_workers=0"]
    assert main(["data", "pack", *words, "coco2017", "out"]) == 0
    packed = Packed(folder / "out", "val")
    assert sum(len(packed.annotation(index).masks) for index in range(len(packed))) > 100


def test_the_bit_depth_stays_in_the_card(folder):
    words = [f"data.root={real_data('isbi-membrane')}", "data.bit_depth=12", "data.num_workers=0"]
    assert main(["data", "pack", "isbi_membrane", *words, "out"]) == 0
    assert yaml.safe_load((folder / "out" / "card.yaml").read_text())["data"]["bit_depth"] == 12


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["shapes", "out", "--shard-mb", "0"], "shard_mb=0 must be within 1..2000"),
        (["shapes", "."], "exists already, and nothing is written into it"),
        (["shapes", "out", "--split", "tset"], "no split 'tset'"),
    ],
)
def test_what_cannot_be_is_refused(words, message, folder, capsys):
    (folder / "mine.txt").write_text("mine")
    assert main(["data", "pack", *words]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["pack", "shapes"], "visionkit data pack takes a card and the folder of the result"),
        (["pack", "shapes", "out", "--to", "coco"], "--to goes with `visionkit data convert`"),
        (["check", "shapes", "--short-side", "8"], "--short-side goes with `visionkit data pack`"),
    ],
)
def test_wrong_usage_is_said(words, message, capsys):
    with pytest.raises(SystemExit):
        main(["data", *words])
    assert message in capsys.readouterr().err


def test_a_recipe_trains_from_a_folder_and_from_an_address_and_scores_the_checkpoint(folder, capsys):
    assert main(["data", "pack", *WORDS, "shapes", "out"]) == 0
    assert main(["fit", "resnet20_cifar10", "out", *SMALL]) == 0
    assert "out: format packed with the splits train, val" in capsys.readouterr().err
    with serve_folder(folder / "out") as server:
        address = f"data.root={server.address}"
        assert main(["fit", "resnet20_cifar10", "out/card.yaml", address, "data.stream.window=2", *SMALL]) == 0
        best = "runs/resnet20_cifar10-out/2/best.ckpt"
        asked = len(server.asked)
        assert main(["validate", best]) == 2
        assert "needs data.root, a folder or an URL\nan URL is not taken from a checkpoint" in capsys.readouterr().err
        assert len(server.asked) == asked, "a checkpoint causes no connection"
        assert main(["validate", best, address]) == 0
    assert list((folder / "cache").rglob("chunk-*.bin"))


def test_neither_an_address_nor_a_cache_is_taken_from_a_checkpoint():
    recipe = {"data": {"format": "packed", "root": "https://host/data", "stream": {"cache": "/tmp/x"}, "splits": {}}}
    assert from_checkpoint(recipe) == {"data": {"format": "packed", "splits": {}}}
    recipe["data"]["root"] = "local"
    assert from_checkpoint(recipe)["data"]["root"] == "local"


def test_a_packed_card_keeps_the_other_settings_of_the_card_before(folder):
    main(["data", "pack", *WORDS, "shapes", "out"])
    data = compose(["retinanet_resnet50", "bccd", "out/card.yaml"]).values["data"]
    assert (data["format"], data["augment"]) == ("packed", [{"name": "D4", "p": 1.0}])
    assert "classes" not in data


def test_stream_options_are_checked(capsys):
    for word, message in (
        ("data.stream.windw=2", "data.stream.windw"),
        ("data.stream.window=0", "data.stream.window=0 must be at least 1"),
    ):
        assert main(["fit", "resnet20_cifar10", word, *WORDS, *SMALL]) == 2
        assert message in capsys.readouterr().err
