"""`visionkit report` of each task: what the page says, and files that are not overwritten."""

import json
import re
import shutil

import pytest

from tests.helpers.html_page import parse
from tests.helpers.multi_recipe import fit
from tests.helpers.small_runs import RECIPES, checkpoints_of
from visionkit.cli.main import main


@pytest.fixture(scope="module", params=RECIPES)
def checkpoint(request, tmp_path_factory):
    return checkpoints_of(request.param, tmp_path_factory.mktemp(request.param))[0]


def page_of(checkpoint, *words):
    assert main(["report", str(checkpoint), *words]) == 0
    text = (checkpoint.parent / "report.html").read_text()
    return text, parse(text)


def test_the_page_has_the_metrics_of_test_with_intervals(checkpoint, tmp_path, capsys):
    text, page = page_of(checkpoint, "--images", "2")
    assert main(["validate", str(checkpoint), "--output", str(tmp_path)]) == 0
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    printed = page.texts()
    for name, value in metrics["overall"].items():
        assert name in printed
        assert ("n/a" if value is None else f"{value:.4f}") in printed
    for low, high in metrics["confidence_intervals"]["overall"].values():
        assert f"{low:.3f} to {high:.3f}" in printed
    assert len(page.find("figure", class_="card")) == 2
    assert "visionkit validate" in printed
    assert "<script src" not in text
    assert not re.search(r"""(?:src|href)=["']https?:""", text)


def test_plots_of_the_training_and_the_recipe_are_there(checkpoint):
    _, page = page_of(checkpoint)
    assert {"Losses", "Main metric"} <= {caption.texts().strip() for caption in page.find("figcaption")}
    assert any("max_epochs" in pre.texts() for pre in page.find("pre"))


def test_the_calibration_of_pixels_is_plotted(tmp_path):
    (checkpoint,) = checkpoints_of("segmentation", tmp_path)
    _, page = page_of(checkpoint, "--images", "1")
    (plot,) = [figure for figure in page.find("figure") if "Reliability" in figure.texts()]
    assert "calibration error" in plot.texts()


def test_an_earlier_report_is_overwritten_and_another_file_is_not(checkpoint, tmp_path, capsys):
    path = tmp_path / "mine.html"
    path.write_text("mine")
    assert main(["report", str(checkpoint), "--output", str(path)]) == 2
    assert "not overwritten" in capsys.readouterr().err
    assert path.read_text() == "mine"
    page_of(checkpoint)
    page_of(checkpoint)


def test_a_checkpoint_without_its_folder_has_its_recipe_in_the_page(checkpoint, tmp_path):
    alone = tmp_path / "a b.ckpt"
    shutil.copy(checkpoint, alone)
    _, page = page_of(alone)
    commands = page.find("pre")[0].texts()
    assert "visionkit fit recipe.yaml  # save the recipe below" in commands
    assert f"visionkit validate '{alone}'" in commands


def test_a_model_of_several_heads_has_a_section_for_each(tmp_path):
    fit(tmp_path)
    checkpoint = tmp_path / "runs" / "mine" / "1" / "last.ckpt"
    _, page = page_of(checkpoint, "--images", "2")
    titles = {title.texts().strip() for title in page.find("h2")}
    assert {"objects", "regions", "tags"} <= titles
    assert len(page.find("form")) == 3


def test_bad_words_are_answered_at_once(capsys):
    assert main(["report", "missing.ckpt"]) == 2
    assert "there is no checkpoint" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["report", "missing.ckpt", "--images", "0"])
