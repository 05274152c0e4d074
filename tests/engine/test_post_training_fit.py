"""The after-training callback with a detector and a fitting stage of the test's own."""

import pytest
import torch
from torch import nn

from tests.helpers.small_detector import small_data
from tests.helpers.small_trainer import small_trainer
from visionkit.data.datasets.shapes import SHAPE_OUTLINES
from visionkit.engine.callbacks import make_callbacks
from visionkit.engine.post_training_fit import FittingContext, FittingStage, fitting_stages
from visionkit.errors import VisionkitError
from visionkit.models.base import DetectionModel
from visionkit.tasks import Detection

NAMES = list(SHAPE_OUTLINES)


class Constant(nn.Module):
    """A fitted layer that gives a score."""

    def __init__(self):
        super().__init__()
        self.register_buffer("weight", torch.zeros(1))
        self.register_buffer("bias", torch.zeros(1))
        self.register_buffer("fitted", torch.tensor(0, dtype=torch.uint8))

    def fit(self, weight, bias):
        self.weight.copy_(weight)
        self.bias.copy_(bias)
        self.fitted.fill_(1)


class OneBox(DetectionModel):
    """Detects one box per image, with the fitted score."""

    def __init__(self):
        super().__init__()
        self.backbone, self.num_classes = nn.Linear(1, 1), len(NAMES)
        self.score = Constant()

    @property
    def fitted_layers(self):
        return nn.ModuleDict({"constant": self.score})

    def losses_and_predictions(self, images, targets):
        boxes, labels = torch.tensor([[0.0, 0, 9, 9]]), torch.zeros(1, dtype=torch.int64)
        predictions = [{"boxes": boxes, "scores": self.score.weight.clone(), "labels": labels} for _ in images]
        return {"loss": self.backbone.weight.square().sum()}, predictions

    def forward(self, images, targets=None, proposals=None):
        losses, predictions = self.losses_and_predictions(images, targets)
        return losses if self.training else predictions


@pytest.fixture
def stage(monkeypatch):
    class Stage(FittingStage):
        fitted, error = 0, None

        def check(self):
            if Stage.error:
                raise Stage.error

        def key(self, context):
            return "key"

        def fit(self, context):
            Stage.fitted += 1
            assert not context.task.training
            return torch.tensor([0.5]), torch.zeros(1)

    fitting_stages.get("svm")  # imports the stages of the package, which a patched registry would lack
    monkeypatch.setitem(fitting_stages._entries, "constant", Stage)
    return Stage


def fit(folder, **options):
    task = Detection(OneBox(), NAMES)
    trainer = small_trainer(
        callbacks=make_callbacks(folder, task.monitor), enable_checkpointing=True, logger=True, default_root_dir=folder
    )
    trainer.fit(task, small_data(), **options)
    return task


def test_the_layers_that_a_model_names_are_fitted_and_saved(stage, tmp_path):
    task = fit(tmp_path)
    assert stage.fitted == 1
    assert task.results.overall["AP"] >= 0
    for name in ("best", "last"):
        state = torch.load(tmp_path / f"{name}.ckpt", weights_only=True)["state_dict"]
        assert state["pipeline.network.score.weight"] == 0.5
        assert state["pipeline.network.score.fitted"] == 1
    assert (tmp_path / "features" / "constant-key.pt").is_file()


def test_kept_weights_are_read_and_finished_runs_left_alone(stage, tmp_path):
    fit(tmp_path)
    written = (tmp_path / "best.ckpt").stat().st_mtime_ns
    fit(tmp_path, ckpt_path=tmp_path / "last.ckpt", weights_only=True)
    assert stage.fitted == 1
    assert (tmp_path / "best.ckpt").stat().st_mtime_ns == written


def test_a_stage_that_cannot_run_raises_before_training(stage, tmp_path):
    stage.error = VisionkitError("a package is missing")
    with pytest.raises(VisionkitError, match="a package is missing"):
        fit(tmp_path)
    assert not (tmp_path / "last.ckpt").exists()


def test_stages_share_what_is_computed_once(tmp_path):
    calls = []

    def features(context):
        calls.append(context)
        return len(calls)

    context = FittingContext(None, None, None, tmp_path)
    assert (context.shared(features), context.shared(features)) == (1, 1)
    assert calls == [context]


def test_the_stages_of_rcnn_are_registered():
    assert {"svm", "box_regression"} <= set(fitting_stages)
