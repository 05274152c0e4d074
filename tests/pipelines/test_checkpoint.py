import pickle

import pytest
import torch

from tests.helpers.small_detector import STAGES, small_data, small_task
from tests.helpers.small_trainer import small_trainer
from visionkit import load
from visionkit.data.datasets.shapes import SHAPE_OUTLINES, Shapes
from visionkit.errors import CheckpointError
from visionkit.pipelines.checkpoint import FORMAT_VERSION, read_checkpoint
from visionkit.tasks import Task

NAMES = list(SHAPE_OUTLINES)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A checkpoint of two steps, and the task that wrote it."""
    path = tmp_path_factory.mktemp("run") / "a.ckpt"
    task, trainer = small_task(NAMES, category_ids=[3, 5, 7, 11, 13, 90]), small_trainer()
    trainer.fit(task, small_data())
    trainer.save_checkpoint(path)
    return path, task.eval()


def test_a_checkpoint_alone_restores_everything_bit_for_bit(trained):
    path, task = trained
    again = Task.load_from_checkpoint(path).eval()
    assert again.class_names == NAMES
    assert again.category_ids == [3, 5, 7, 11, 13, 90]
    assert again.pipeline.preprocess_options == task.pipeline.preprocess_options
    assert again.evaluation_options == task.evaluation_options
    image = torch.from_numpy(Shapes(count=1, size=80)[0].image.transpose(2, 0, 1).copy())
    with torch.inference_mode():
        before, after = task([image])[0], again([image])[0]
    assert len(before["boxes"])
    for name, value in before.items():
        assert torch.equal(value, after[name]), name


def test_it_holds_nothing_but_primitives(trained):
    description = read_checkpoint(trained[0])["visionkit"]

    def check(value):
        assert value is None or isinstance(value, (dict, list, str, int, float, bool)), type(value)
        for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            check(inner)

    check(description)
    assert description["model"]["name"] == "faster_rcnn"
    assert description["model"]["backbone"]["name"] == "resnet18"
    assert {"val/AP", "train/loss"} <= set(description["metrics"])
    assert description["versions"]["torch"] == torch.__version__.split("+")[0]


class Evil:
    def __reduce__(self):
        return (print, ("code ran",))


def write(path, content):
    torch.save(content, path)
    return path


def test_files_that_are_not_ours_are_refused_and_never_unpickled(tmp_path, trained, capsys):
    whole = trained[0].read_bytes()
    cut = tmp_path / "cut.ckpt"
    cut.write_bytes(whole[: len(whole) // 2])
    plain = tmp_path / "plain.ckpt"
    plain.write_bytes(pickle.dumps(Evil()))
    described = {"format": FORMAT_VERSION, "class_names": ["a"]}
    nameless = {"visionkit": {"format": FORMAT_VERSION}, "state_dict": {}}
    refused = {
        cut: "truncated",
        plain: "truncated, or holds more",
        write(tmp_path / "evil.ckpt", {"a": Evil()}): "more than plain tensors",
        write(tmp_path / "foreign.ckpt", {"state_dict": {}}): "not written by visionkit",
        write(tmp_path / "list.ckpt", [1, 2]): "not written by visionkit",
        write(tmp_path / "new.ckpt", {"visionkit": {**described, "format": 99}, "state_dict": {}}): "format 99",
        write(tmp_path / "nameless.ckpt", nameless): "no class names",
        write(tmp_path / "old.ckpt", {"visionkit": {**described, "format": 1}, "state_dict": {}}): "an older visionkit",
        tmp_path / "gone.ckpt": "there is no checkpoint",
    }
    for path, message in refused.items():
        with pytest.raises(CheckpointError, match=message) as caught:
            read_checkpoint(path)
        assert len(str(caught.value).splitlines()) <= 5
    assert "code ran" not in capsys.readouterr().out


def test_weights_that_do_not_fit_the_description_are_refused(tmp_path, trained):
    checkpoint = torch.load(trained[0], weights_only=True)
    del checkpoint["state_dict"]["pipeline.network.rpn.head.cls_logits.weight"]
    path = tmp_path / "holed.ckpt"
    torch.save(checkpoint, path)
    with pytest.raises(CheckpointError, match="do not fit"):
        Task.load_from_checkpoint(path)


def test_a_network_whose_option_was_renamed_is_refused(tmp_path, trained):
    content = torch.load(trained[0], weights_only=True)
    content["visionkit"]["model"]["class_agnostic_nms"] = False
    torch.save(content, tmp_path / "old.ckpt")
    with pytest.raises(CheckpointError, match=r"of another visionkit .*\n.*class_agnostic_nms"):
        Task.load_from_checkpoint(tmp_path / "old.ckpt")


def test_loading_fetches_nothing(trained, monkeypatch):
    import socket

    def refuse(*args, **options):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    load(trained[0])


def test_a_backbone_of_one_run_starts_another(trained, tmp_path):
    from visionkit.backbones import create_backbone

    path, task = trained
    backbone = create_backbone("resnet18", weights=str(path), out_stages=STAGES)
    for name, value in task.backbone.state_dict().items():
        assert torch.equal(value, backbone.state_dict()[name]), name
