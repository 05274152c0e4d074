"""The overrides that the CamVid table gives to its runs, without running them."""

import pytest

from tests.benchmarks import camvid_table
from tests.helpers.real_data import REPOSITORY
from visionkit.cli.config.compose import compose
from visionkit.cli.config.schema import check


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Record recipe and composed values instead of training; each run writes an empty best.ckpt."""
    monkeypatch.chdir(tmp_path)
    composed = []

    def pretend(recipe, words, checkpoint):
        layer = compose([recipe, *words])
        check(layer)
        composed.append((recipe, layer.values))
        folder = tmp_path / "runs" / recipe / str(sum(name == recipe for name, _ in composed))
        folder.mkdir(parents=True)
        (folder / f"{checkpoint}.ckpt").touch()
        return dict.fromkeys(camvid_table.COLUMNS, 0.5), 1.0, 1.0

    monkeypatch.setattr(camvid_table, "fit_and_test", pretend)
    monkeypatch.setattr(camvid_table, "RESULTS", tmp_path / "results.md")
    return composed


def test_the_full_table_trains_its_recipes_and_fc_densenet_twice(runs, tmp_path):
    camvid_table.full(tmp_path, ["trainer.precision=bf16-mixed"])
    names = [recipe for recipe, _ in runs]
    assert [name for at, name in enumerate(names) if name not in names[:at]] == list(camvid_table.FULL)
    assert {name for name in names if names.count(name) == 2} == {"fc_densenet56", "fc_densenet67", "fc_densenet103"}
    for recipe in camvid_table.FULL:
        first, *second = [values for name, values in runs if name == recipe]
        assert first["data"]["root"] == str(tmp_path)
        for values in second:
            assert values["model"] == {**first["model"], "weights": str(tmp_path / "runs" / recipe / "1" / "best.ckpt")}
            assert (values["optimizer"]["lr"], first["optimizer"]["lr"]) == (1e-4, 1e-3)
            assert (values["data"]["batch_size"], values["optimizer"]["base_batch_size"]) == (1, 1)
            assert [each["name"] for each in first["data"]["augment"]] == ["RandomCrop", "HorizontalFlip"]
            assert [each["name"] for each in values["data"]["augment"]] == ["HorizontalFlip"]
            assert values["trainer"]["precision"] == "bf16-mixed"
    page = (tmp_path / "results.md").read_text()
    assert "camvid_table full DATA OUTPUT trainer.precision=bf16-mixed" in page
    assert "| fc_densenet56 | 58.9 | 50.0 |" in page


def test_the_recipe_says_the_second_stage_in_the_same_words():
    header = (REPOSITORY / "recipes" / "fc_densenet56.yaml").read_text()
    assert all(word in header for word in camvid_table.WHOLE)
