"""A dataset of two classes with mask values 0 and 255, and mistakes in its card, through the command line."""

import json

import numpy as np
import pytest
from PIL import Image

from visionkit.cli.main import main

RECIPE = """
task: segmentation
model: {name: unet, backbone: {name: unet, weights: none, width: 4, use_batch_norm: true}}
optimizer: {name: adamw, lr: 0.02, base_batch_size: 4, scale_lr: false}
schedule: {name: constant, warmup_steps: 0}
loss: {terms: [cross_entropy, dice], class_weights: balanced}
data:
  format: masks
  root: .
  classes: [wall, cell]
  batch_size: 4
  num_workers: 0
  splits:
    train: &both {images: images, masks: masks, values: {0: wall, 255: cell}}
    val: *both
trainer: {max_epochs: 12, accelerator: cpu, enable_progress_bar: false, enable_model_summary: false}
"""
IMAGES, SIDE = 8, 32


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with the recipe, and images that are bright where the mask is 255."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(RECIPE)
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    numbers = np.random.default_rng(0)
    for index in range(IMAGES):
        mask = np.zeros((SIDE, SIDE), np.uint8)
        mask[:, numbers.integers(8, SIDE - 8) :] = 255
        noise = numbers.integers(-30, 30, (SIDE, SIDE, 3))
        image = np.clip(mask[..., None] // 2 + 60 + noise, 0, 255).astype(np.uint8)
        Image.fromarray(image).save(tmp_path / "images" / f"{index}.png")
        Image.fromarray(mask).save(tmp_path / "masks" / f"{index}.png")
    return tmp_path


def test_255_is_learned_scored_and_predicted_as_the_class_it_is(here):
    assert main(["fit", "mine.yaml"]) == 0
    checkpoint = str(here / "runs" / "mine" / "1" / "best.ckpt")
    assert main(["validate", checkpoint, "--output", str(here / "scored")]) == 0
    metrics = json.loads((here / "scored" / "metrics.json").read_text())
    confusion = np.array(metrics["confusion"])
    assert confusion.sum() == IMAGES * SIDE * SIDE, "no pixel is ignored"
    cells = [int((np.asarray(Image.open(path)) == 255).sum()) for path in sorted((here / "masks").iterdir())]
    assert confusion.sum(1).tolist() == [IMAGES * SIDE * SIDE - sum(cells), sum(cells)]
    assert metrics["overall"]["mIoU"] > 0.9
    assert main(["predict", checkpoint, "images", "--output", "out"]) == 0
    for number, count in enumerate(cells):
        found = np.asarray(Image.open(here / "out" / "masks" / f"{number}.png"))
        assert set(np.unique(found)) <= {0, 1}
        assert abs(int((found == 1).sum()) - count) < 0.1 * SIDE * SIDE


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.full((SIDE, SIDE), 7, np.uint8), ["3.png", "7"]),
        (np.zeros((SIDE, SIDE + 1), np.uint8), ["3.png", "33", "32"]),
    ],
    ids=["value", "size"],
)
def test_a_mask_that_does_not_fit_is_named_in_a_few_lines(here, mask, message, workers, capfd):
    Image.fromarray(mask).save(here / "masks" / "3.png")
    assert main(["fit", "mine.yaml", f"data.num_workers={workers}", "trainer.max_epochs=1"]) == 2
    told = capfd.readouterr().err.partition("visionkit: ")[2]
    assert all(word in told for word in message), told
    assert len(told.strip().splitlines()) <= 5
    assert "Traceback" not in told
