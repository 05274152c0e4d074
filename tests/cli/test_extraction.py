"""`visionkit extract`: a head alone is what it was among the others, and can start another model."""

import json

import pytest
import torch
from PIL import Image

import visionkit as vk
from tests.helpers.multi_recipe import HEADS, fit
from tests.helpers.small_classifier import small_checkpoint
from visionkit.cli.extraction import recipe_of_head
from visionkit.cli.main import main
from visionkit.data.datasets.shapes import Shapes
from visionkit.errors import ConfigError

TASKS = {"objects": "detection", "regions": "segmentation", "tags": "classification"}
RESULTS = {"objects": "detections", "regions": "shares", "tags": "classes"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a model of three heads after one epoch, `multi.ckpt`, and a checkpoint of each head."""
    folder = tmp_path_factory.mktemp("extracted")
    fit(folder, "trainer.max_epochs=1")
    (folder / "runs" / "mine" / "1" / "best.ckpt").rename(folder / "multi.ckpt")
    for head in HEADS:
        assert main(["extract", str(folder / "multi.ckpt"), head]) == 0
    return folder


def metrics(checkpoint, folder):
    assert main(["test", str(checkpoint), "--output", str(folder)]) == 0
    return json.loads((folder / "metrics.json").read_text())


def test_the_metrics_of_a_head_are_the_same_alone(folder, tmp_path):
    joint = metrics(folder / "multi.ckpt", tmp_path / "joint")
    for head in HEADS:
        alone = metrics(folder / f"{head}.ckpt", tmp_path / head)
        for group in ("overall", "per_class"):
            of_head = {name: value for name, value in joint[group].items() if name.startswith(f"{head}/")}
            assert alone[group] == {name.removeprefix(f"{head}/"): value for name, value in of_head.items()}
        rows = [
            json.loads((tmp_path / path).read_text())
            for path in (f"joint/{head}_predictions.json", f"{head}/predictions.json")
        ]
        assert rows[0] == rows[1] != []


def test_the_predictions_of_a_head_are_the_same_alone(folder, tmp_path):
    Image.fromarray(Shapes(split="test", count=1, size=64)[0].image).save(tmp_path / "a.png")
    found = {}
    for name in ("multi", *HEADS):
        words = ["--output", str(tmp_path / name), "--score-threshold", "0"]
        assert main(["predict", str(folder / f"{name}.ckpt"), str(tmp_path / "a.png"), *words]) == 0
        found[name] = json.loads((tmp_path / name / "predictions.json").read_text())[0]
    for head in HEADS:
        assert found[head][RESULTS[head]] == found["multi"]["heads"][head][RESULTS[head]] != []


@pytest.mark.parametrize("head", HEADS)
def test_a_head_is_an_ordinary_pipeline_with_the_same_weights(head, folder):
    multi, alone = vk.load(folder / "multi.ckpt"), vk.load(folder / f"{head}.ckpt")
    assert (alone.task, alone.class_names) == (TASKS[head], multi.head(head).class_names)
    assert alone.preprocess_options == multi.head(head).preprocess_options
    own, among = alone.network.state_dict(), multi.network.state_dict()
    for name, value in own.items():
        assert torch.equal(value, among[name if name.startswith("backbone.") else f"heads.{head}.{name}"]), name
    assert any(name.startswith("backbone.") for name in own)
    assert any(not name.startswith("backbone.") for name in own)


def test_the_path_is_printed_and_no_file_is_overwritten(folder, tmp_path, capsys):
    path = tmp_path / "own.ckpt"
    words = ["extract", str(folder / "multi.ckpt"), "tags", "--output", str(path)]
    assert main(words) == 0
    assert capsys.readouterr().out.strip() == f"classification checkpoint: {path}"
    before = path.read_bytes()
    assert main(words) == 2
    assert "exists already" in capsys.readouterr().err
    assert path.read_bytes() == before
    assert [*tmp_path.iterdir()] == [path]


def test_a_head_can_be_started_from_a_checkpoint_of_its_own(folder, tmp_path):
    """With a learning rate of 0 the weights stay those that the run started with."""
    still = ["trainer.max_epochs=1", "optimizer.lr=1e-12", "seed=5"]
    for name in ("objects", "multi"):
        weights = f"model.heads.objects.weights={folder / name}.ckpt"
        (tmp_path / name).mkdir()
        fit(tmp_path / name, *still, weights, f"model.backbone.weights={folder / name}.ckpt")
    trained = vk.load(folder / "multi.ckpt").network.state_dict()
    for name in ("objects", "multi"):
        started = vk.load(tmp_path / name / "runs" / "mine" / "1" / "last.ckpt").network
        parameters = dict(started.named_parameters())
        for key, value in parameters.items():
            if key.startswith(("backbone.", "heads.objects.")):
                torch.testing.assert_close(value, trained[key], rtol=1e-4, atol=1e-6)
        others = [key for key, value in parameters.items() if key.startswith("heads.tags.") and value.ndim > 1]
        assert others
        assert not any(torch.allclose(parameters[key], trained[key], atol=1e-3) for key in others), "not started"
        assert "weights" not in started.spec["heads"]["objects"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["multi.ckpt", "tag"], "has no head 'tag'; its heads are objects, regions, tags"),
        (["gone.ckpt", "tags"], "there is no checkpoint gone.ckpt"),
        (["tags.ckpt", "tags"], "is a checkpoint of one task, classification: it has no heads to extract"),
        (["multi.ckpt", "tags"], "tags.ckpt exists already"),
        (["broken.ckpt", "tags"], "broken.ckpt"),
    ],
)
def test_mistakes_are_named(words, message, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    (folder / "broken.ckpt").write_bytes((folder / "multi.ckpt").read_bytes()[:5000])
    before = (folder / "tags.ckpt").read_bytes()
    assert main(["extract", *words]) == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert len(printed.splitlines()) <= 5
    assert (folder / "tags.ckpt").read_bytes() == before


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("model.heads.objects.weights=imagenet", "head objects: weights=imagenet: there is no such file"),
        ("model.heads.objects.weights=regions.ckpt", "regions.ckpt"),
        ("model.heads.objects.weights=cats.ckpt", "cats.ckpt"),
        (
            "model.heads.label={name: classifier, weights: multi.ckpt}",
            "multi.ckpt has no head 'label', only objects, regions, tags",
        ),
        ("model.heads.tags.weights=broken.ckpt", "broken.ckpt"),
    ],
)
def test_a_head_starts_from_a_checkpoint_of_its_model_only(word, message, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    (folder / "broken.ckpt").write_bytes((folder / "multi.ckpt").read_bytes()[:5000])
    small_checkpoint(folder / "cats.ckpt", ["cat", "dog"])
    heads = [*HEADS, "label"] if "heads.label" in word else HEADS
    assert main(["fit", "mine.yaml", word, f"data.cards.all.heads=[{', '.join(heads)}]"]) == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert len(printed.splitlines()) <= 5


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"model": 3}, "model must hold"),
        ({"model": {"heads": {"tags": 3}}}, "model.heads.tags must hold"),
        ({"data": {"cards": 3}}, "data.cards must hold"),
        ({"heads": {"tags": [3]}}, "heads.tags must hold"),
    ],
)
def test_a_value_in_place_of_keys_is_named(recipe, message):
    with pytest.raises(ConfigError, match=message):
        recipe_of_head(recipe, "classification", "tags")


def test_a_head_keeps_what_the_recipe_says_about_all_cards():
    data = {"batch_size": 3, "augment": [], "min_visibility": 0.5, "sampling": "round_robin", "cards": {}}
    kept = recipe_of_head({"data": data}, "detection", "objects")["data"]
    assert kept == {"batch_size": 3, "augment": [], "min_visibility": 0.5}
