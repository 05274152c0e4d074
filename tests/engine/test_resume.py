"""What `--resume` refuses, with what to do instead."""

import pytest
import torch

from tests.helpers.small_detector import small_data, small_task
from tests.helpers.small_trainer import small_trainer
from visionkit.data.datasets.shapes import SHAPE_OUTLINES
from visionkit.engine.resume import check_same_network, explain_other_optimizer, read_resumable
from visionkit.errors import CheckpointError

NAMES = list(SHAPE_OUTLINES)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "best.ckpt"
    trainer = small_trainer()
    trainer.fit(small_task(NAMES), small_data())
    trainer.save_checkpoint(path)
    return path


@pytest.fixture
def folder(saved, tmp_path):
    """A run folder with an intact best.ckpt and a last.ckpt cut in half."""
    content = saved.read_bytes()
    (tmp_path / "best.ckpt").write_bytes(content)
    (tmp_path / "last.ckpt").write_bytes(content[: len(content) // 2])
    return tmp_path


def test_the_intact_other_checkpoint_is_named(folder):
    message = r"last\.ckpt cannot be read[^$]*best\.ckpt is intact \(epoch \d\): --resume .*/best\.ckpt"
    with pytest.raises(CheckpointError, match=message) as caught:
        read_resumable(folder / "last.ckpt")
    assert len(str(caught.value).splitlines()) <= 5
    assert read_resumable(folder / "best.ckpt")["global_step"] == 2
    (folder / "best.ckpt").unlink()
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_resumable(folder / "last.ckpt")


@pytest.mark.parametrize("part", ["epoch", "loops", "optimizer_states", "lr_schedulers"])
def test_a_checkpoint_without_the_state_of_its_training_is_refused(part, saved, tmp_path):
    content = torch.load(saved, weights_only=True)
    torch.save({**content, part: "x"}, tmp_path / "a.ckpt")
    with pytest.raises(CheckpointError, match=rf"holds no training state \({part}\)"):
        read_resumable(tmp_path / "a.ckpt")


def test_another_network_other_classes_and_another_task_are_refused(saved):
    checkpoint = read_resumable(saved)
    check_same_network(checkpoint, small_task(NAMES), saved)
    with pytest.raises(CheckpointError, match=r"has 6 classes .*, the data 6"):
        check_same_network(checkpoint, small_task(NAMES[::-1]), saved)
    larger = dict(checkpoint["state_dict"])
    name = "pipeline.network.rpn.head.cls_logits.weight"
    larger[name] = torch.zeros(99, *larger[name].shape[1:])
    with pytest.raises(
        CheckpointError, match=rf"1 tensors differ, such as\n{name}: \[99, .* in the recipe\n.*recipe\.yaml"
    ):
        check_same_network({**checkpoint, "state_dict": larger}, small_task(NAMES), saved)
    del larger[name]
    with pytest.raises(CheckpointError, match="missing in the checkpoint"):
        check_same_network({**checkpoint, "state_dict": larger}, small_task(NAMES), saved)
    description = {**checkpoint["visionkit"], "task": "segmentation"}
    with pytest.raises(CheckpointError, match="is for the task segmentation, the recipe for detection"):
        check_same_network({**checkpoint, "visionkit": description}, small_task(NAMES), saved)


def test_the_state_of_another_optimizer_is_refused(saved):
    task = small_task(NAMES)
    task.backbone.requires_grad_(False)
    with (
        pytest.raises(CheckpointError, match="other trained layers or another optimizer"),
        explain_other_optimizer(saved),
    ):
        small_trainer(max_epochs=2).fit(task, small_data(), ckpt_path=saved, weights_only=True)
    with pytest.raises(ValueError, match="of something else"), explain_other_optimizer(saved):
        raise ValueError("of something else")
