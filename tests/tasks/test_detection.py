import lightning.pytorch as pl
import pytest
import torch
from torch import nn

from tests.helpers.detectors import SMALL, target
from tests.helpers.small_detector import STAGES, small_data, small_task
from tests.helpers.small_trainer import small_trainer
from visionkit.backbones import create_backbone
from visionkit.data.batch import Batch
from visionkit.data.datasets.shapes import SHAPE_OUTLINES
from visionkit.errors import CheckpointError, ConfigError, DataError, VisionkitError
from visionkit.models import create_model
from visionkit.models.base import DetectionModel
from visionkit.models.detection.parts.anchors import AnchorOptions
from visionkit.ops import waiting
from visionkit.preprocessing.detection import DetectionPreprocessOptions
from visionkit.tasks import Detection, DetectionEvaluationOptions, OptimizerOptions, ScheduleOptions
from visionkit.tasks.training_errors import DivergedError

NAMES = list(SHAPE_OUTLINES)


def test_it_trains_under_a_plain_trainer_and_logs_losses_and_metrics(tmp_path):
    task, trainer = small_task(NAMES), small_trainer(default_root_dir=tmp_path)
    trainer.fit(task, small_data())
    logged = trainer.callback_metrics
    assert {"train/loss", "train/loss_classifier", "val/loss", "val/AP", "val/AP50"} <= set(logged)
    assert all(torch.isfinite(value) for value in logged.values())
    assert task.monitor == "val/AP"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"labels": torch.tensor([9])}, "'street' has the labels"), ({"boxes": torch.zeros(1, 4)}, "'street' has boxes")],
)
def test_targets_are_checked_before_they_go_to_a_gpu(wrong, message, monkeypatch):
    valid = {**target([[0, 0, 9, 9]], [0]), "image_id": "street"}
    batch = Batch([torch.zeros(3, 9, 9, dtype=torch.uint8)], [{**valid, **wrong}])
    task = small_task(NAMES)
    assert task.on_before_batch_transfer(batch, 0) is batch  # on a CPU the model checks them
    monkeypatch.setattr(waiting, "HOSTS", frozenset())
    with pytest.raises(DataError, match=message):
        task.on_before_batch_transfer(batch, 0)
    assert task.on_before_batch_transfer(batch._replace(targets=[valid]), 0).targets == [valid]


@pytest.mark.parametrize("metric", ["voc07", "voc10"])
def test_voc_metrics_are_watched_by_their_own_name(metric):
    task = small_task(NAMES, evaluation=DetectionEvaluationOptions(metric=metric))
    assert task.monitor == "val/AP50"


@pytest.mark.parametrize("name", ["multistep", "cosine", "plateau"])
def test_every_schedule_runs_under_the_trainer(name, tmp_path):
    task = small_task(NAMES, schedule=ScheduleOptions(name=name, warmup_steps=2, milestones=[1]))
    trainer = small_trainer(max_epochs=2, default_root_dir=tmp_path)
    trainer.fit(task, small_data(train=4))
    assert trainer.global_step == 4


def test_the_rate_follows_batch_and_accumulation(tmp_path):
    task = small_task(NAMES, optimizer=OptimizerOptions(lr=0.8, base_batch_size=16))
    trainer = small_trainer(accumulate_grad_batches=2, default_root_dir=tmp_path)
    trainer.fit(task, small_data())
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.8 * 4 / 16)


def test_bfloat16_trains_with_finite_losses(tmp_path):
    trainer = small_trainer(precision="bf16-mixed", default_root_dir=tmp_path)
    trainer.fit(small_task(NAMES), small_data())
    assert torch.isfinite(trainer.callback_metrics["train/loss"])


def test_a_precision_that_would_round_boxes_is_refused(tmp_path):
    trainer = small_trainer(precision="bf16-true", default_root_dir=tmp_path)
    with pytest.raises(ConfigError, match=r"set trainer\.precision=bf16-mixed"):
        trainer.fit(small_task(NAMES), small_data())


def test_a_loss_that_is_no_number_stops_training_and_names_the_images(tmp_path):
    task = small_task(NAMES)
    with torch.no_grad():
        task.network.rpn.head.bbox_pred.weight.fill_(float("nan"))
    with pytest.raises(DivergedError, match=r"images of the batch: \["):
        small_trainer(default_root_dir=tmp_path).fit(task, small_data(train=2))


def test_a_image_that_leaves_a_batch_norm_one_cell_alone_says_what_to_do(tmp_path):
    task = small_task(NAMES, stages=[*STAGES, "s32"], preprocess=DetectionPreprocessOptions(size=[32, 32]))
    with pytest.raises(VisionkitError, match="batch_size to 2 or more"):
        small_trainer(default_root_dir=tmp_path).fit(task, small_data(train=2, batch_size=1))


def test_validation_gives_losses_and_predictions_from_one_pass(tmp_path, monkeypatch):
    task = small_task(NAMES)
    passes = []
    forward = task.backbone.forward
    monkeypatch.setattr(task.backbone, "forward", lambda x: passes.append(len(x)) or forward(x))
    small_trainer(default_root_dir=tmp_path).validate(task, small_data(val=3), verbose=False)
    assert passes == [2, 1]


def test_predictions_are_in_the_images_own_pixels():
    task = small_task(NAMES).eval()
    image = torch.randint(0, 256, (3, 40, 100), dtype=torch.uint8)
    with torch.inference_mode():
        (found,) = task([image])
    assert len(found["boxes"])
    assert found["boxes"][:, 2].max() <= 100
    assert found["boxes"][:, 3].max() <= 40
    assert found["boxes"][:, 2].max() > 64, "boxes reach over the whole resized width"


def test_a_batch_predicts_as_its_images_one_by_one():
    task = small_task(NAMES).eval()
    images = [torch.randint(0, 256, (3, *size), dtype=torch.uint8) for size in ((64, 64), (64, 64), (50, 90))]
    with torch.inference_mode():
        together, alone = task(images), [task([image])[0] for image in images]
    for one, other in zip(together, alone, strict=True):
        torch.testing.assert_close(one["scores"], other["scores"], atol=1e-4, rtol=1e-3)


def test_class_names_are_required():
    with pytest.raises(VisionkitError, match="class_names are missing"):
        Detection(small_task([*NAMES]).network, [])


def test_mean_and_std_come_from_the_backbone_s_weights():
    task = small_task(NAMES)
    assert task.pipeline.preprocess_options.mean == pytest.approx([0.485, 0.456, 0.406])


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_a_few_images_can_be_learned_and_keep_their_classes(seed, tmp_path):
    """Losses, labels, sampling and evaluation fit together.

    The network is wider than `small_task`'s, which needs four times as many steps with 16 channels and 16 RoIs an
    image. The anchors fit the objects of 12 to 38 pixels.
    """
    pl.seed_everything(seed, workers=True)
    data = small_data(train=8, val=8)
    data.splits.options["val"] = dict(data.splits.options["train"])
    network = create_model(
        "faster_rcnn",
        create_backbone("resnet18", weights="none", out_stages=STAGES),
        len(data.class_names),
        anchors={"sizes": [[12], [24], [48], [96]]},
        fpn_channels=64,
        head_channels=64,
        roi={"batch_size_per_image": 64},
        nms={"score_threshold": 0.0},
    )
    optimizer = OptimizerOptions(name="adamw", lr=1e-3, base_batch_size=2, weight_decay=0.0)
    task = small_task(data.class_names, network, optimizer=optimizer)
    small_trainer(max_epochs=100, default_root_dir=tmp_path, check_val_every_n_epoch=100).fit(task, data)
    assert task.results.overall["AP50"] > 0.95


def test_any_network_with_the_contract_can_be_trained(tmp_path):
    class Stub(DetectionModel):
        def __init__(self):
            super().__init__()
            self.backbone = nn.Linear(1, 1)

        def forward(self, images, targets=None, proposals=None):
            if targets is None:
                return [empty() for _ in images]
            return {"loss": self.backbone.weight.sum() ** 2}

        def losses_and_predictions(self, images, targets):
            return self(images, targets), self(images)

    def empty():
        return {"boxes": torch.zeros(0, 4), "scores": torch.zeros(0), "labels": torch.zeros(0, dtype=torch.long)}

    trainer = small_trainer(default_root_dir=tmp_path)
    trainer.fit(Detection(Stub(), NAMES), small_data())
    assert trainer.callback_metrics["val/AP"] == 0


def test_a_module_without_the_contract_is_refused():
    with pytest.raises(ConfigError, match=r"must be a DetectionModel, not Linear\n.*FromTorchvision"):
        Detection(nn.Linear(1, 1), NAMES)


def test_a_network_without_a_registered_name_is_loaded_into(tmp_path):
    class Own(type(small_task(NAMES).network)):
        pass

    def build():
        torch.manual_seed(0)
        backbone = create_backbone("resnet18", weights="none", out_stages=["s4", "s8"])
        anchors = AnchorOptions(((32,), (64,), (128,)))
        return Own(backbone, len(NAMES), anchors=anchors, fpn_channels=16, head_channels=16)

    trainer = small_trainer(default_root_dir=tmp_path)
    preprocess = DetectionPreprocessOptions(short_side=64)
    task = Detection(build(), NAMES, preprocess=preprocess, optimizer=OptimizerOptions(lr=0.001))
    trainer.fit(task, small_data())
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    with pytest.raises(CheckpointError, match="no registered name"):
        Detection.load_from_checkpoint(tmp_path / "a.ckpt")
    again = Detection.load_from_checkpoint(tmp_path / "a.ckpt", model=build())
    trained = dict(trainer.lightning_module.state_dict())
    assert all(torch.equal(value, trained[name]) for name, value in again.state_dict().items())


def test_thresholds_are_chosen_on_val_stored_and_used_by_test(tmp_path, caplog):
    """`test` takes the thresholds of the checkpoint; without them it warns that they favor the scored split."""
    task, trainer = small_task(NAMES), small_trainer(default_root_dir=tmp_path)
    trainer.fit(task, small_data())
    chosen = task.model_pipeline.class_thresholds
    assert len(chosen) == len(NAMES)
    trainer.save_checkpoint(tmp_path / "a.ckpt", weights_only=True)
    again = Detection.load_from_checkpoint(tmp_path / "a.ckpt")
    assert again.model_pipeline.class_thresholds == chosen
    again.model_pipeline.class_thresholds = [0.625] * len(NAMES)
    with caplog.at_level("INFO", "visionkit"):
        small_trainer(default_root_dir=tmp_path).test(again, small_data(), verbose=False)
        assert set(again.results.per_class["threshold"].values()) == {0.625}
        assert again.results.to_dict()["thresholds_from"] == "val"
        assert "chosen on val during training" in caplog.text
        assert again.model_pipeline.class_thresholds == [0.625] * len(NAMES)
        again.model_pipeline.class_thresholds = None
        small_trainer(default_root_dir=tmp_path).test(again, small_data(), verbose=False)
    assert again.results.to_dict()["thresholds_from"] == "scored split"
    assert "chosen on the scored split, which favors them" in caplog.text


def test_results_have_the_category_ids_of_the_scored_data():
    ids = [10 * label for label in range(1, len(NAMES) + 1)]
    task, data = small_task(NAMES, category_ids=ids), small_data()
    small_trainer().test(task, data, verbose=False)
    rows = task.result_files()["predictions.json"]
    assert {row["category_id"] for row in rows} <= set(data.category_ids), "those of shapes"
    small_trainer().test(task, data.test_dataloader(), verbose=False)
    others = task.predictions_for_json()
    assert [row["category_id"] for row in others] == [10 * row["category_id"] for row in rows] != []


def test_a_checkpoint_without_thresholds_is_read(tmp_path):
    task, trainer = small_task(NAMES), small_trainer(default_root_dir=tmp_path)
    trainer.fit(task, small_data())
    trainer.save_checkpoint(tmp_path / "a.ckpt", weights_only=True)
    checkpoint = torch.load(tmp_path / "a.ckpt", weights_only=True)
    del checkpoint["visionkit"]["class_thresholds"]
    torch.save(checkpoint, tmp_path / "a.ckpt")
    assert Detection.load_from_checkpoint(tmp_path / "a.ckpt").model_pipeline.class_thresholds is None


@pytest.mark.parametrize(("metric", "warned"), [("coco", True), ("voc07", True), ("coco_masks", False)])
def test_masks_that_the_metric_does_not_score_are_said_at_the_start(metric, warned, caplog):
    options = {**SMALL, "fpn_channels": 16, "mask_channels": 16}
    network = create_model("mask_rcnn", create_backbone("resnet18", weights="none"), len(NAMES), **options)
    task = small_task(NAMES, network, evaluation=DetectionEvaluationOptions(metric=metric))
    message = f"evaluation.metric={metric} scores only the boxes, and the model also predicts masks"
    data, trainer = small_data(train=2, val=1, required="masks"), small_trainer(limit_val_batches=0)
    for run in (trainer.fit, trainer.test):
        caplog.clear()
        run(task, datamodule=data)
        assert caplog.text.count(message) == caplog.text.count("for.mask_rcnn.evaluation.metric") == int(warned)


def test_a_model_without_masks_needs_no_metric_of_masks(caplog):
    small_trainer(max_steps=1, limit_val_batches=0).fit(small_task(NAMES), small_data(train=2))
    assert "scores only the boxes" not in caplog.text
