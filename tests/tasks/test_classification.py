import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn
from torch.nn import functional

from tests.helpers.small_classifier import SIDE, small_classification, small_images, small_network
from tests.helpers.small_trainer import small_trainer
from visionkit.data.datasets.shapes import SHAPE_OUTLINES
from visionkit.errors import ConfigError, VisionkitError
from visionkit.models.base import ClassificationModel
from visionkit.pipelines.classification import ClassificationInferenceOptions
from visionkit.preprocessing.classification import ClassificationPreprocessOptions
from visionkit.tasks import (
    Classification,
    ClassificationEvaluationOptions,
    ClassificationLossOptions,
    MixingOptions,
    OptimizerOptions,
    Task,
)

NAMES = list(SHAPE_OUTLINES)
FAST = OptimizerOptions(name="adamw", lr=0.003, base_batch_size=16, weight_decay=0.0)


def validated(task, data):
    small_trainer().validate(task, data, verbose=False)
    return task.results.overall


def on_its_own_images(data):
    """The data with its training images as validation images."""
    data.splits.options["val"] = dict(data.splits.options["train"])
    return data


def test_sixteen_images_are_learned_to_the_last():
    """Labels, probabilities, classes and rows agree for every image."""
    data = on_its_own_images(small_images(train=16, batch_size=16))
    task = small_classification(data.class_names, optimizer=FAST)
    before = validated(task, data)["top1"]
    trainer = small_trainer(max_epochs=30, check_val_every_n_epoch=30)
    trainer.fit(task, data)
    assert before < 0.5
    assert task.results.overall["top1"] == 1
    assert trainer.callback_metrics["train/loss"] < 0.2
    trainer.test(task, data.val_dataloader(), verbose=False)
    labels = {index: data.dataset("train").label(index) for index in range(16)}
    assert {row["image_id"]: NAMES.index(row["classes"][0]) for row in task.predictions_for_json()} == labels
    assert np.trace(task.results.extras["confusion"]) == 16
    assert all(row["scores"] == sorted(row["scores"], reverse=True) for row in task.predictions_for_json())


def test_several_classes_a_image_are_learned():
    data = on_its_own_images(small_images(train=16, batch_size=16, required="tags"))
    task = small_classification(data.class_names, multi_label=True, optimizer=FAST)
    assert task.monitor == "val/mAP"
    before = validated(task, data)["mAP"]
    small_trainer(max_epochs=30, check_val_every_n_epoch=30).fit(task, data)
    assert before < 0.8
    assert task.results.overall["mAP"] > 0.99
    assert task.results.overall["F1"] > 0.9


def test_validation_logs_the_loss_that_training_minimizes():
    data = small_images(val=4)
    for smoothing in (0.0, 0.1):
        task = small_classification(NAMES, loss=ClassificationLossOptions(label_smoothing=smoothing))
        trainer = small_trainer()
        trainer.validate(task, data, verbose=False)
        batch = next(iter(data.val_dataloader()))
        labels = torch.tensor([target["label"] for target in batch.targets])
        with torch.no_grad():
            logits = task.eval().network(task.preprocessing(batch.images))
        expected = functional.cross_entropy(logits, labels, label_smoothing=smoothing)
        torch.testing.assert_close(trainer.callback_metrics["val/loss"], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("weights", ["balanced", "median_frequency", [1.0, 2, 3, 4, 5, 6]])
def test_class_weights_are_those_of_the_training_split(weights):
    data = small_images(train=24)
    task = small_classification(NAMES, loss=ClassificationLossOptions(class_weights=weights))
    trainer = small_trainer(limit_train_batches=1)
    trainer.fit(task, data)
    if isinstance(weights, list):
        assert task.class_weights.tolist() == weights
    else:
        counts = torch.bincount(torch.tensor([data.dataset("train").label(index) for index in range(24)]), minlength=6)
        assert (task.class_weights > 0).tolist() == (counts > 0).tolist()
        present = counts > 0
        order = counts[present].argsort()
        assert (task.class_weights[present][order].diff() <= 0).all(), "the rarer, the heavier"
    assert "class_weights" not in task.state_dict()


def test_class_weights_that_must_be_counted_need_the_datamodule():
    data = small_images()
    task = small_classification(NAMES, loss=ClassificationLossOptions(class_weights="balanced"))
    with pytest.raises(ConfigError, match="give 6 numbers"):
        small_trainer().fit(task, data.train_dataloader())
    task = small_classification(NAMES, loss=ClassificationLossOptions(class_weights=[1.0] * 6))
    small_trainer(limit_train_batches=1).fit(task, data.train_dataloader())
    assert task.class_weights.tolist() == [1.0] * 6


@pytest.mark.parametrize("mixing", [MixingOptions(0.2), MixingOptions(0, 1.0), MixingOptions(0.2, 1.0)])
@pytest.mark.parametrize("multi_label", [False, True])
def test_mixed_images_train(mixing, multi_label):
    data = small_images(train=4, required="tags" if multi_label else "label")
    trainer = small_trainer(limit_val_batches=1)
    loss = ClassificationLossOptions(label_smoothing=0.0 if multi_label else 0.1)
    trainer.fit(small_classification(NAMES, multi_label=multi_label, mixing=mixing, loss=loss), data)
    assert torch.isfinite(trainer.callback_metrics["train/loss"])


def test_mixed_and_smoothed_targets_weigh_as_torch_says(monkeypatch):
    """Shares of classes with label smoothing and class weights at once: torch's loss of the mixed images."""
    task = small_classification(NAMES, mixing=MixingOptions(1.0), loss=ClassificationLossOptions(label_smoothing=0.1))
    task.class_weights = torch.rand(6) + 0.5
    logits, shares = torch.randn(4, 6), torch.rand(4, 6).softmax(dim=1)
    expected = -(shares * 0.9 + 0.1 / 6) * task.class_weights * logits.log_softmax(dim=1)
    torch.testing.assert_close(task.loss(logits, shares), expected.sum(dim=1).mean())


def test_balanced_sampling_reaches_the_training_loop():
    data = small_images(train=40, sampling="balanced")
    seen = []

    class Watched(type(small_classification(NAMES))):
        def training_step(self, batch, batch_index):
            seen.extend(target["label"] for target in batch.targets)
            return super().training_step(batch, batch_index)

    task = small_classification(NAMES)
    task.__class__ = Watched
    small_trainer(limit_val_batches=0).fit(task, data)
    present = {data.dataset("train").label(index) for index in range(40)}
    counts = [seen.count(label) for label in present]
    assert len(seen) == 40
    assert max(counts) - min(counts) <= 1


def test_auxiliary_heads_count_in_training_and_not_in_validation():
    class TwoHeads(ClassificationModel):
        def __init__(self):
            super().__init__()
            self.backbone = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 6))

        def forward(self, x):
            return self.backbone(x)

        def weighted_logits(self, x):
            return [(1.0, self(x)), (0.3, torch.zeros(len(x), 6))]

    data = small_images(train=4, val=4)
    task = small_classification(NAMES, TwoHeads(), optimizer=OptimizerOptions(lr=1e-30))
    task.network.backbone[2].weight.data.zero_()
    task.network.backbone[2].bias.data.zero_()
    trainer = small_trainer()
    trainer.fit(task, data)
    assert trainer.callback_metrics["train/loss"].item() == pytest.approx(1.3 * np.log(6), rel=1e-5)
    assert trainer.callback_metrics["val/loss"].item() == pytest.approx(np.log(6), rel=1e-5)


def test_the_best_checkpoint_follows_top1_and_comes_back(tmp_path):
    data = small_images()
    task = small_classification(NAMES)
    assert task.monitor == "val/top1"
    keeper = ModelCheckpoint(tmp_path, filename="best", monitor=task.monitor, mode="max")
    trainer = small_trainer(max_epochs=3, callbacks=[keeper], enable_checkpointing=True)
    trainer.fit(task, data)
    again = Task.load_from_checkpoint(tmp_path / "best.ckpt")
    assert validated(again, data)["top1"] == pytest.approx(float(keeper.best_model_score))
    assert again.class_names == NAMES


def test_metrics_that_there_are_not_cannot_be_followed():
    for metric, multi_label in [("mAP", False), ("top1", True)]:
        options = ClassificationEvaluationOptions(metric=metric)
        with pytest.raises(ConfigError, match=r"evaluation\.metric"):
            small_classification(NAMES, multi_label=multi_label, evaluation=options)
    with pytest.raises(ConfigError, match="top5"):
        small_classification(NAMES[:5], evaluation=ClassificationEvaluationOptions(metric="top5"))
    assert small_classification(NAMES, evaluation=ClassificationEvaluationOptions(metric="top5")).monitor == "val/top5"


def test_a_batch_of_one_that_leaves_a_norm_one_value_is_refused():
    data = small_images(train=4, batch_size=1)
    task = small_classification(NAMES, small_network(6, "resnet18"))
    with pytest.raises(VisionkitError, match=r"data\.batch_size"):
        small_trainer().fit(task, data)
    small_trainer(limit_train_batches=1).fit(small_classification(NAMES), data)


def test_any_network_with_logits_can_be_trained(tmp_path):
    class Plain(ClassificationModel):
        def __init__(self):
            super().__init__()
            self.backbone, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, 6)

        def forward(self, x):
            return self.fc(self.backbone(x).mean(dim=(2, 3)))

    trainer = small_trainer()
    trainer.fit(small_classification(NAMES, Plain()), small_images())
    assert torch.isfinite(trainer.callback_metrics["val/loss"])


def test_a_batch_predicts_as_its_images_one_by_one():
    task = small_classification(NAMES).eval()
    images = [torch.randint(0, 256, (3, *size), dtype=torch.uint8) for size in ((32, 32), (64, 40), (20, 90))]
    with torch.inference_mode():
        together, alone = task(images), torch.cat([task([image]) for image in images])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(together.sum(dim=1), torch.ones(3))


def test_images_of_the_crops_size_are_resized_in_evaluation_alone():
    """The network trains on an augmented image of 32 x 32; a stored image is resized to 40 and cropped."""
    preprocessing = ClassificationPreprocessOptions(40, SIDE, [0.0] * 3, [1.0] * 3).module()
    image = torch.randint(0, 256, (3, SIDE, SIDE), dtype=torch.uint8)
    assert torch.equal(preprocessing.train()([image])[0], image / 255)
    assert not torch.equal(preprocessing.eval()([image])[0], image / 255)


@pytest.mark.parametrize("smoothing", [-0.1, 1.0, float("nan")])
def test_impossible_smoothing_is_refused(smoothing):
    with pytest.raises(ConfigError, match="label_smoothing"):
        ClassificationLossOptions(label_smoothing=smoothing)


def test_thresholds_of_several_labels_are_chosen_on_val_stored_and_used(tmp_path):
    data = small_images(required="tags")
    task, trainer = small_classification(data.class_names, multi_label=True), small_trainer(default_root_dir=tmp_path)
    trainer.fit(task, data)
    chosen = task.pipeline.class_thresholds
    assert len(chosen) == len(data.class_names)
    assert any(threshold is not None for threshold in chosen)
    trainer.save_checkpoint(tmp_path / "a.ckpt", weights_only=True)
    again = Classification.load_from_checkpoint(tmp_path / "a.ckpt")
    assert again.pipeline.class_thresholds == chosen
    assert again.pipeline.display_threshold == [0.5 if threshold is None else threshold for threshold in chosen]
    trainer.validate(again, data, verbose=False)
    trainer.test(again, dataloaders=data.val_dataloader(), verbose=False)
    results = again.results
    assert results.extras["thresholds_from"] == "val"
    assert results.per_class["threshold"] == dict(zip(data.class_names, again.pipeline.display_threshold, strict=True))
    again.pipeline.class_thresholds = None
    trainer.test(again, dataloaders=data.val_dataloader(), verbose=False)
    assert again.results.extras["thresholds_from"] == "0.5"
    assert again.results.overall["F1"] <= results.overall["F1"]
    assert again.pipeline.display_threshold == 0.05
    again.pipeline.set_inference(ClassificationInferenceOptions(score_threshold=0.3))
    assert again.pipeline.display_threshold == 0.3


def test_one_label_per_image_needs_no_thresholds():
    task = small_classification(NAMES)
    small_trainer().fit(task, small_images(train=4))
    assert task.pipeline.class_thresholds is None


def test_results_of_an_image_do_not_take_those_of_its_batch_to_other_processes():
    task, data = small_classification(NAMES), small_images(train=4, batch_size=4)
    small_trainer().test(task, data.val_dataloader(), verbose=False)
    rows = list(task.image_results.values())
    assert len(rows) > 1
    assert {found.untyped_storage().nbytes() for found, _ in rows} == {len(NAMES) * 4}
