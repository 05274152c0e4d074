"""A model of several heads through the command line: fit, resume, test and predict."""

import csv
import json

import numpy as np
import pytest
import torch
from PIL import Image

from tests.helpers.multi_recipe import HEADS, fit
from visionkit.cli.main import main
from visionkit.data.datasets.shapes import Shapes

OTHER = "data: {format: shapes, splits: {test: {split: other, count: 4, size: 48}}}\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a finished run of two epochs."""
    folder = tmp_path_factory.mktemp("trained")
    fit(folder)
    return folder


@pytest.fixture(scope="module")
def checkpoint(folder):
    return str(folder / "runs" / "mine" / "1" / "best.ckpt")


def scored(command, checkpoint, folder, *words):
    """Return metrics.json and the rows of each head's file."""
    assert main([command, checkpoint, *words, "--output", str(folder)]) == 0
    rows = {head: json.loads((folder / f"{head}_predictions.json").read_text()) for head in HEADS}
    return json.loads((folder / "metrics.json").read_text()), rows


def image_ids(rows):
    return {head: sorted({row["image_id"] for row in of_head}) for head, of_head in rows.items()}


def test_the_log_has_the_losses_metrics_and_cosines_of_the_heads(folder):
    with open(folder / "runs" / "mine" / "1" / "metrics.csv") as file:
        rows = list(csv.DictReader(file))
    names = {name for row in rows for name, value in row.items() if value}
    assert {f"{split}/{head}/loss" for split in ("train", "val") for head in HEADS} <= names
    assert {"val/mean_metric", "val/objects/AP", "val/regions/mIoU", "val/tags/mAP", "train/loss"} <= names
    cosines = {"objects-regions", "objects-tags", "regions-tags"}
    assert {name.removeprefix("train/cosine/") for name in names if "cosine" in name} == cosines
    values = [float(row[f"train/cosine/{pair}"]) for row in rows for pair in cosines if row[f"train/cosine/{pair}"]]
    assert len(values) == 2 * 3, "steps 2, 4 and 6, of which an epoch has one or two, as a mean"
    assert all(-1 < value < 1 for value in values)


def test_a_resumed_run_equals_one_without_interruption(folder, tmp_path):
    fit(tmp_path, "trainer.max_epochs=1")
    fit(tmp_path, "--resume")
    whole, resumed = (
        torch.load(path / "runs" / "mine" / "1" / "last.ckpt", weights_only=True) for path in (folder, tmp_path)
    )
    assert whole["global_step"] == resumed["global_step"] == 6
    assert any("log_variances" in name for name in whole["state_dict"])
    for name, value in whole["state_dict"].items():
        assert torch.equal(value, resumed["state_dict"][name]), name
    assert whole["visionkit"]["metrics"] == resumed["visionkit"]["metrics"]


def test_test_writes_the_metrics_and_a_file_of_each_head(checkpoint, tmp_path, capsys):
    metrics, rows = scored("test", checkpoint, tmp_path)
    overall = metrics["overall"]
    assert metrics["split"] == "test"
    main_metrics = [overall["objects/AP"], overall["regions/mIoU"], overall["tags/mAP"]]
    assert overall["mean_metric"] == pytest.approx(np.mean(main_metrics))
    assert "star" in metrics["per_class"]["objects/AP"]
    assert "background" in metrics["per_class"]["regions/IoU"]
    ids = image_ids(rows)
    assert ids == {head: [0, 1] for head in HEADS}
    printed = capsys.readouterr().out
    assert [line.strip() for line in printed.splitlines() if line.strip() in HEADS] == HEADS, "a table per head"


def test_the_evaluation_of_a_head_and_of_all_can_be_changed(checkpoint, tmp_path):
    plain, _ = scored("validate", checkpoint, tmp_path)
    words = ["heads.regions.evaluation.boundaries=true", "heads.tags.evaluation.metric=F1"]
    words += ["evaluation.reference={objects: 0.5, regions: 0.1, tags: 0.4}"]
    changed, _ = scored("validate", checkpoint, tmp_path, *words)
    assert "regions/boundary_F1" in changed["overall"].keys() - plain["overall"].keys()
    values = {"objects/AP": 0.5, "regions/mIoU": 0.1, "tags/F1": 0.4}
    changes = [changed["overall"][name] / reference - 1 for name, reference in values.items()]
    assert changed["overall"]["relative_change"] == pytest.approx(100 * np.mean(changes))
    assert changed["overall"]["tags/mAP"] == plain["overall"]["tags/mAP"]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("heads.tag.evaluation.metric=F1", "unknown key heads.tag; did you mean tags"),
        ("evaluation.reference={tag: 0.5}", "reference: there is no head 'tag'; did you mean tags"),
        ("evaluation.reference={tags: 0.5}", "the single-task model is missing for objects, regions"),
        (
            "evaluation.reference={objects: 0, regions: 1, tags: 1}",
            "'regions': 1.0, 'tags': 1.0} must be above 0",
        ),
        ("heads.tags.evaluation.metric=AUC", "heads.tags.evaluation"),
        ("model.heads.tags.name=unet", "cannot be changed here"),
    ],
)
def test_mistakes_in_the_words_of_test_are_named(word, message, checkpoint, tmp_path, capsys):
    assert main(["test", checkpoint, word, "--output", str(tmp_path)]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["all", "more"])
def test_test_scores_another_card(name, checkpoint, tmp_path):
    """Also one with the same name as that of the training."""
    (tmp_path / f"{name}.yaml").write_text(OTHER)
    words = [str(tmp_path / f"{name}.yaml"), f"data.cards.{name}.heads=[objects, regions, tags]"]
    _, rows = scored("test", checkpoint, tmp_path / "out", *words)
    assert image_ids(rows)["tags"] == [0, 1, 2, 3]


def test_predict_writes_one_image_and_the_results_of_each_head(checkpoint, tmp_path):
    shapes = Shapes(split="test", count=2, size=64)
    for index in range(2):
        Image.fromarray(shapes[index].image).save(tmp_path / f"{index}.png")
    out = tmp_path / "out"
    words = [str(tmp_path / "0.png"), str(tmp_path / "1.png"), "--output", str(out), "--score-threshold", "0"]
    assert main(["predict", checkpoint, *words]) == 0
    found = json.loads((out / "predictions.json").read_text())
    _, rows = scored("test", checkpoint, tmp_path / "test")
    assert [entry["image"] for entry in found] == [str(tmp_path / "0.png"), str(tmp_path / "1.png")]
    for index, entry in enumerate(found):
        assert Image.open(out / entry["drawn"]).mode == "RGB"
        assert set(entry["heads"]) == set(HEADS)
        assert np.asarray(Image.open(out / entry["regions_masks"])).shape == (64, 64)
        scores = {row["name"]: row["score"] for row in entry["heads"]["tags"]["classes"]}
        tested = rows["tags"][index]
        known = dict(zip(tested["classes"], tested["scores"], strict=True))
        assert scores == pytest.approx({**scores, **known}, rel=1e-4)
        detected = [row["score"] for row in entry["heads"]["objects"]["detections"]]
        tested = [row["score"] for row in rows["objects"] if row["image_id"] == index]
        assert detected
        assert sorted(detected) == pytest.approx(sorted(tested))


def test_pre_labels_and_ensembles_of_several_heads_are_refused(checkpoint, tmp_path, capsys):
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    words = ["predict", checkpoint, str(tmp_path / "a.png"), "--output", str(tmp_path / "out"), "--format", "yolo"]
    assert main(words) == 2
    assert "--format yolo is for detectors" in capsys.readouterr().err
    assert main(["test", checkpoint, checkpoint, "--output", str(tmp_path / "out")]) == 2
    assert "models of several heads cannot be combined" in capsys.readouterr().err
