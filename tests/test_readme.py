"""The commands of the README, unchanged, on tiny images."""

import re
import shlex

import pytest
from PIL import Image

from tests.helpers.overrides import TINY
from tests.helpers.real_data import REPOSITORY
from visionkit.cli.main import main
from visionkit.data.datasets.shapes import Shapes

README = (REPOSITORY / "README.md").read_text()
COMMANDS = [line.split("&&")[-1].split("  #")[0].strip() for line in README.splitlines() if line.startswith("    ")]
VISIONKIT = [shlex.split(command)[1:] for command in COMMANDS if command.startswith("visionkit ")]
ON_OTHER_DATA = ("data/mine.yaml", "data/voc2007.yaml")


def test_the_main_command_and_the_tests_stand_first():
    first, second = (line.strip() for line in README.splitlines() if line.startswith("    pip install"))
    assert first == "pip install -e . && visionkit fit recipes/faster_rcnn_resnet50.yaml"
    assert second == 'pip install -e ".[dev]" && pytest'


def test_the_commands_run_in_their_order(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    Image.fromarray(Shapes(count=1, size=64)[0].image).save(tmp_path / "photos" / "a.png")
    for folder in ("recipes", "data"):
        (tmp_path / folder).symlink_to(REPOSITORY / folder)
    tiny = {"fit": [*TINY, "model.backbone.name=resnet18"]}
    assert main([*VISIONKIT[0], *tiny["fit"]]) == 0  # `compare` needs two runs
    ran = []
    for words in VISIONKIT:
        if not set(words) & set(ON_OTHER_DATA):
            files = [word.replace("runs/mine", "runs/faster_rcnn_resnet50") for word in words]
            assert main([*files, *tiny.get(words[0], [])]) == 0, words
            ran.append(words[0])
    assert ran == ["fit", "test", "report", "compare", "predict"]
    assert (tmp_path / "out" / "a.png").is_file()


@pytest.mark.parametrize("words", [words for words in VISIONKIT if "data/voc2007.yaml" in words])
def test_commands_on_data_that_is_not_here_are_composed(words, monkeypatch, capsys):
    monkeypatch.chdir(REPOSITORY)
    assert main([*words, "--dry-run"]) == 0
    assert "densenet121" in capsys.readouterr().out


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (REPOSITORY / target).exists(), target
