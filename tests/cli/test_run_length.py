"""`visionkit fit` trains on few images for as many epochs as `schedule.min_steps` needs."""

import pytest
import yaml

from visionkit.cli.main import main

RECIPE = """
task: classification
model:
  name: classifier
  backbone: {name: resnet18, weights: none}
preprocess: {short_side: 32, crop: 32}
optimizer: {name: sgd, lr: 0.01, base_batch_size: 4}
schedule: {name: multistep, milestones: [1], warmup_steps: 0, min_steps: 7}
data:
  format: shapes
  batch_size: 4
  num_workers: 0
  splits: {train: {count: 8, size: 32}, val: {split: val, count: 4, size: 32}}
trainer: {max_epochs: 2, accelerator: cpu, enable_progress_bar: false}
"""


@pytest.fixture
def fit(tmp_path, monkeypatch, capsys):
    """Run `visionkit fit`, and return the recipe of the run's folder, the folder, and the messages."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(RECIPE)

    def run(*words):
        assert main(["fit", "mine.yaml", *words]) == 0
        folder = max((tmp_path / "runs/mine").iterdir(), key=lambda path: int(path.name))
        messages = " ".join(capsys.readouterr().err.split())
        return yaml.safe_load((folder / "recipe.yaml").read_text()), folder, messages

    return run


def test_epochs_milestones_and_validations_grow_in_proportion(fit):
    recipe, folder, messages = fit()
    assert recipe["trainer"]["max_epochs"] == 4
    assert recipe["trainer"]["check_val_every_n_epoch"] == 2
    assert recipe["schedule"]["milestones"] == [2]
    rows = (folder / "metrics.csv").read_text().splitlines()
    column = next(index for index, name in enumerate(rows[0].split(",")) if name.startswith("val/"))
    assert sum(bool(row.split(",")[column]) for row in rows[1:]) == 2
    assert "4 epochs instead of 2, with a validation every 2: 8 images give 2 steps an epoch" in messages


def test_epochs_of_unfreezing_grow_in_the_recipe_too(fit):
    recipe, _, _ = fit("unfreeze={epoch: 1, frozen_stages: 0}")
    assert [step["epoch"] for step in recipe["unfreeze"]] == [2]


def test_validations_that_follow_batches_are_kept(fit):
    recipe, _, messages = fit("trainer.val_check_interval=3", "trainer.check_val_every_n_epoch=null")
    assert recipe["trainer"]["max_epochs"] == 4
    assert recipe["trainer"]["check_val_every_n_epoch"] is None
    assert "4 epochs instead of 2, with a validation every 3 batches" in messages


def test_epochs_of_the_command_line_are_kept(fit):
    recipe, _, messages = fit("trainer.max_epochs=1")
    assert recipe["trainer"]["max_epochs"] == 1
    assert "instead of" not in messages


@pytest.mark.parametrize("word", ["trainer.max_steps=1", "trainer.limit_train_batches=1", "schedule.min_steps=4"])
def test_a_run_of_another_limit_or_enough_steps_is_unchanged(word, fit):
    recipe, _, _ = fit(word)
    assert recipe["trainer"]["max_epochs"] == 2
    assert recipe["schedule"]["milestones"] == [1]


@pytest.mark.parametrize("length", ["max_epochs: -1", "max_time: 00:01:00:00"])
def test_a_run_without_a_number_of_steps_is_refused(length, fit, tmp_path, capsys):
    (tmp_path / "mine.yaml").write_text(RECIPE.replace("max_epochs: 2", length))
    assert main(["fit", "mine.yaml"]) == 2
    message = capsys.readouterr().err.partition("visionkit: ")[2]
    assert "the learning rate schedule needs the length of the run" in message
    assert len(message.strip().splitlines()) <= 5


def test_a_finished_run_is_not_trained_again(fit, capsys):
    fit()
    assert main(["fit", "mine.yaml", "--resume"]) == 2
    assert "is finished (trainer.max_epochs=4)" in capsys.readouterr().err


def test_too_few_steps_are_said_before_the_run(fit):
    _, _, messages = fit("trainer.max_epochs=1", "ema={start_step: 5}")
    assert "this run has 2 optimizer steps (8 images, 1 epochs), too few to change a network much" in messages
    assert "ema.start_step=5 is not reached in 2 steps" in messages
