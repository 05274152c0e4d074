import re

import numpy as np
import pytest
import yaml

from tests.helpers.html_page import parse
from tests.helpers.small_audit import add_box, write_card, write_shapes
from visionkit.cli.main import main


@pytest.fixture
def card(tmp_path, monkeypatch):
    """Card of 16 + 6 images with a copy across the splits, a duplicate box and a truncated file."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VISIONKIT_WEIGHTS", raising=False)
    contents = write_shapes(tmp_path, {"train": 16, "val": 6})
    (tmp_path / "train" / "3.png").write_bytes((tmp_path / "val" / "2.png").read_bytes())
    truncated = tmp_path / "train" / "5.png"
    truncated.write_bytes(truncated.read_bytes()[:300])
    for _ in range(2):
        add_box(contents["train"], 7, [20, 20, 60, 60], 0)
    return write_card(tmp_path, contents)


def test_the_findings_are_printed_and_errors_give_status_1(card, capsys):
    assert main(["data", "audit", str(card), "--backbone", "none"]) == 1
    out = capsys.readouterr().out
    assert "ERROR    duplicate images across splits: 1" in out
    assert "train train/3.png: 2 images in train and val, the same pixels" in out
    assert "ERROR    duplicate boxes: 1" in out
    assert "ERROR    unreadable images: 1" in out
    assert "not made object suspects: --backbone none was given" in out
    assert re.search(r"3 errors, \d+ warnings?, \d+ notes?; errors and warnings in \d+ of 22 images", out)
    assert len(out.splitlines()) < 40


def test_when_it_fails(card, tmp_path, capsys):
    clean = tmp_path / "clean.yaml"
    assert main(["data", "audit", str(card), "--backbone", "none", "--fail-on", "never", "--write", str(clean)]) == 0
    assert main(["data", "audit", str(clean), "--backbone", "none"]) == 0
    assert main(["data", "audit", str(clean), "--backbone", "none", "--fail-on", "warning"]) in (0, 1)
    assert main(["data", "audit", str(card), "--fail-on", "errors"]) == 2
    assert "did you mean error" in capsys.readouterr().err


def test_the_cleaned_card_leaves_out_what_is_wrong_for_sure(card, tmp_path, capsys):
    clean = tmp_path / "cards" / "clean.yaml"
    main(["data", "audit", str(card), "--backbone", "none", "--write", str(clean)])
    out = capsys.readouterr().out
    assert f"{clean} leaves out:" in out
    assert "  duplicate boxes: 1 object" in out
    assert "  unreadable images: 1 image" in out
    values = yaml.safe_load(clean.read_text())
    assert values["base"] == "../card.yaml"
    assert sorted(values["data"]["exclude"]["train"]["images"]) == ["train/3.png", "train/5.png"]
    assert values["data"]["exclude"]["train"]["boxes"] == {"train/7.png": [[20.0, 20.0, 60.0, 60.0]]}
    assert "val" not in values["data"]["exclude"]
    assert len(list((tmp_path / "train").iterdir())) == 16  # nothing is deleted

    assert main(["data", "check", str(clean)]) == 0
    out = capsys.readouterr().out
    assert "14 images" in out
    assert "images left out (data.exclude): 2" in out
    again = tmp_path / "again.yaml"
    assert main(["data", "audit", str(clean), "--backbone", "none", "--write", str(again)]) == 0
    assert "nothing: no finding is without doubt" in capsys.readouterr().out
    assert yaml.safe_load(again.read_text())["data"] == values["data"]  # what was left out stays so


def test_overrides_are_part_of_the_cleaned_card(card, tmp_path):
    clean = tmp_path / "clean.yaml"
    words = [str(card), "data.batch_size=3", "--backbone", "none", "--write", str(clean)]
    assert main(["data", "audit", *words]) == 1
    values = yaml.safe_load(clean.read_text())
    assert values["data"]["batch_size"] == 3
    assert values["data"]["format"] == "coco"
    assert main(["data", "audit", str(clean), "--backbone", "none"]) == 0


def test_only_one_split(card, capsys):
    assert main(["data", "audit", str(card), "--backbone", "none", "--split", "val"]) == 0
    assert "of 6 images" in capsys.readouterr().out


def test_the_page(card, tmp_path, capsys):
    page = tmp_path / "audit.html"
    main(["data", "audit", str(card), "--backbone", "none", "--output", str(page)])
    assert f"{page} (" in capsys.readouterr().out
    kinds = {one.attributes["data-kind"] for one in parse(page.read_text()).find("article", class_="finding")}
    assert {"duplicate images across splits", "duplicate boxes", "unreadable images"} <= kinds


def test_other_files_are_not_overwritten(card, tmp_path, capsys):
    other = tmp_path / "mine.txt"
    other.write_text("mine")
    for option in ("--output", "--write"):
        assert main(["data", "audit", str(card), option, str(other)]) == 2
        assert "is not overwritten" in capsys.readouterr().err
    assert main(["data", "audit", str(card), "--backbone", "none", "--write", str(card)]) == 2
    assert other.read_text() == "mine"


def test_the_quick_models_run_with_given_weights_and_from_the_cache(tmp_path, monkeypatch, capsys):
    """Random weights: what they find has no meaning, but the second run must find the same without the network."""
    import torch

    import visionkit as vk
    from visionkit.engine.audit import region_features

    monkeypatch.chdir(tmp_path)
    card = write_card(tmp_path, write_shapes(tmp_path, {"train": 30, "val": 6}))
    torch.manual_seed(0)
    backbone = vk.create_backbone("resnet18", weights="none")
    torch.save(backbone.state_dict(), tmp_path / "weights.pth")
    monkeypatch.setattr(type(backbone), "native_size", 64)
    words = ["data", "audit", str(card), "--backbone", "resnet18", "--weights", "weights.pth", "--features", "cached"]

    def suspects():
        main(words)
        return [line for line in capsys.readouterr().out.splitlines() if "suspect" in line]

    first = suspects()
    assert any(line.startswith("measured object suspects: ") for line in first)
    assert len(list((tmp_path / "cached").iterdir())) == 1
    monkeypatch.setattr(region_features._RegionNetwork, "__call__", lambda *_: pytest.fail("it is cached"))
    assert suspects() == first


def test_images_of_classes_with_a_wrong_label(tmp_path, monkeypatch, capsys):
    """Two classes that even a random network tells apart, and one image in the wrong folder."""
    import torch
    from PIL import Image

    import visionkit as vk

    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    for index in range(80):
        label = "dark" if index % 2 else "light"
        folder = tmp_path / "photos" / ("light" if index == 7 else label)
        folder.mkdir(parents=True, exist_ok=True)
        level = 60 if label == "dark" else 190
        Image.fromarray(random.integers(level - 50, level + 50, (48, 48, 3)).astype(np.uint8)).save(
            folder / f"img{index}.png"
        )
    torch.manual_seed(0)
    backbone = vk.create_backbone("resnet18", weights="none")
    torch.save(backbone.state_dict(), tmp_path / "weights.pth")
    monkeypatch.setattr(type(backbone), "native_size", 64)
    words = ["data.format=folder", "data.root=photos", 'data.splits={train: {path: ""}}', "data.num_workers=0"]
    assert main(["data", "audit", *words, "--backbone", "resnet18", "--weights", "weights.pth", "--features", ""]) == 0
    out = capsys.readouterr().out
    assert "train light/img7.png: light, but the model says dark" in out
    assert "suspect classes of images: 1\n" in out


def test_anchors_are_compared_if_a_recipe_is_named(card, capsys):
    recipe = "retinanet_resnet50"
    main(["data", "audit", recipe, str(card), "--backbone", "none"])
    out = capsys.readouterr().out
    assert "anchor fit" not in [line.split(":")[0] for line in out.splitlines() if line.startswith("not made")]
    main(["data", "audit", str(card), "--backbone", "none"])
    assert "not made anchor fit: no detector with anchors" in capsys.readouterr().out


def test_its_options_go_with_no_other_action(card, capsys):
    with pytest.raises(SystemExit):
        main(["data", "check", str(card), "--fail-on", "never"])
    assert "--fail-on goes with `visionkit data audit`" in capsys.readouterr().err
