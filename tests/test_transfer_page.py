"""The commands of docs/transfer.md, unchanged, with two dozen rendered images and a small network."""

import re
import shlex

import pytest
import torch
import torchvision

from tests.helpers.photo_folder import write_photos
from tests.helpers.real_data import REPOSITORY
from visionkit.cli.main import main

PAGE = (REPOSITORY / "docs" / "transfer.md").read_text()
COMMANDS = [shlex.split(block.replace("\\\n", ""))[1:] for block in re.findall(r"```bash\n(.+?)```", PAGE, re.DOTALL)]
OF_OTHER_TASKS = [shlex.split(line)[1:] for line in re.findall(r"^    (visionkit fit .+)$", PAGE, re.MULTILINE)]
SMALL = [
    "model.backbone=resnet18",
    "data.num_workers=0",
    "data.batch_size=4",
    "preprocess={short_side: 40, crop: 32}",
    "trainer.max_epochs=1",
    "trainer.accelerator=cpu",
    "trainer.enable_progress_bar=false",
    "trainer.enable_model_summary=false",
]
CARD = "data: {format: folder, root: photos, splits: {train: {path: ''}}, holdout: {fraction: 0.2, seed: 0}}\n"


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """The working folder of docs/your-data.md after its first step, and weights in place of ImageNet's."""
    write_photos(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.yaml").write_text(CARD)
    (tmp_path / "data" / "voc2007.yaml").symlink_to(REPOSITORY / "data" / "voc2007.yaml")
    (tmp_path / "recipes").symlink_to(REPOSITORY / "recipes")
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), tmp_path / "resnet18-imagenet.pth")
    monkeypatch.setenv("VISIONKIT_WEIGHTS", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_page_can_be_followed(desk, capsys):
    for words in COMMANDS:
        fits = words[0] == "fit"
        small = [word for word in SMALL if fits or "backbone" in word]
        assert main([*words, *small]) == 0, (words, capsys.readouterr().err)
    assert [words[0] for words in COMMANDS] == ["transfer", *["fit"] * 6]
    assert "case: few images" in capsys.readouterr().out
    assert len(list((desk / "features").iterdir())) == 2, "of the training and of the validation images"
    assert len(list((desk / "runs" / "transfer_finetune-mine").iterdir())) == 4


@pytest.mark.parametrize("words", OF_OTHER_TASKS, ids=" ".join)
def test_lines_of_other_tasks_are_recipes(words, desk, capsys):
    assert main([*words, "--dry-run"]) == 0
    assert "task: detection" in capsys.readouterr().out


def test_the_page_tells_what_the_code_goes_by():
    from visionkit.engine.transfer_statistics import LARGE_FROM, SAMPLE_SIZE, SIMILAR_BELOW

    assert f"(similar below {SIMILAR_BELOW})" in PAGE
    assert f"(many from {LARGE_FROM:,})" in PAGE
    assert f"estimated from the {SAMPLE_SIZE}." in PAGE
