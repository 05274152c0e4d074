"""The commands of docs/your-data.md, unchanged, with two dozen rendered images and a small network."""

import re
import shlex
import subprocess

import pytest
import torch
import torchvision

from tests.helpers.photo_folder import write_photos
from tests.helpers.real_data import REPOSITORY
from visionkit.cli.main import main

PAGE = (REPOSITORY / "docs" / "your-data.md").read_text()
BLOCKS = re.findall(r"```bash\n(.+?)```", PAGE, flags=re.DOTALL)
SMALL = [
    "model.backbone=resnet18",
    "data.num_workers=0",
    "trainer.max_epochs=1",
    "trainer.accelerator=cpu",
    "trainer.enable_progress_bar=false",
    "trainer.enable_model_summary=false",
]


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A folder with photos of two classes, and weights in place of ImageNet's."""
    write_photos(tmp_path)
    (tmp_path / "recipes").symlink_to(REPOSITORY / "recipes")
    weights = tmp_path / "weights"
    weights.mkdir()
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), weights / "resnet18-imagenet.pth")
    monkeypatch.setenv("VISIONKIT_WEIGHTS", str(weights))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_page_can_be_followed(desk, capsys):
    done = []
    for block in BLOCKS:
        if not block.startswith("visionkit "):
            subprocess.run(["bash", "-c", block], check=True)
            continue
        words = shlex.split(block)[1:]
        assert main([*words, *(SMALL if words[0] == "fit" else [])]) == 0, capsys.readouterr().err
        done.append(words[0])
    assert done == ["data", "fit", "validate", "predict"]
    assert "cat 5, dog 5" in capsys.readouterr().out
    assert len(list((desk / "out").glob("*.png"))) == 12


def test_transfer_refuses_random_values(desk, monkeypatch, capsys):
    (desk / "weights" / "resnet18-imagenet.pth").unlink()
    monkeypatch.setenv("VISIONKIT_OFFLINE", "1")
    monkeypatch.setenv("TORCH_HOME", str(desk))
    assert main(["fit", "recipes/transfer_head.yaml", *SMALL]) == 2
    said = capsys.readouterr().err
    assert "could not be downloaded" in said
    assert len(said.strip().splitlines()) <= 5
