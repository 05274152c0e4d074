import pytest
import torch

pytest.importorskip("skimage")

from tests.helpers.options import merge_options
from tests.helpers.small_detector import SIZE, small_data
from tests.helpers.small_trainer import small_trainer
from visionkit.backbones import create_backbone
from visionkit.data.proposals.proposal_source import ProposalOptions
from visionkit.errors import DataError
from visionkit.models import create_model
from visionkit.pipelines import DetectionPipeline
from visionkit.preprocessing.detection import DetectionPreprocessOptions
from visionkit.tasks import Detection, OptimizerOptions, ScheduleOptions


def fast_rcnn_task(names, lr=0.01, size=2 * SIZE, **options):
    torch.manual_seed(0)
    backbone = create_backbone("resnet18", weights="none", out_stages=["s16"])
    small = {
        "head_channels": 64,
        "head_dropout": 0.0,
        "roi": {"batch_size_per_image": 16},
        "nms": {"score_threshold": 0.0},
    }
    options = merge_options(small, options)
    return Detection(
        create_model("fast_rcnn", backbone, len(names), **options),
        names,
        preprocess=DetectionPreprocessOptions(short_side=size, long_side=2 * size),
        optimizer=OptimizerOptions(name="adamw", lr=lr, base_batch_size=2, weight_decay=0.0),
        schedule=ScheduleOptions(name="constant", warmup_steps=0),
    )


def proposing_data(tmp_path, **options):
    return small_data(proposals=ProposalOptions(mode="single", folder=str(tmp_path / "kept")), **options)


def test_it_trains_and_is_tested_on_the_proposals_of_the_data(tmp_path):
    data = proposing_data(tmp_path)
    task, trainer = fast_rcnn_task(data.class_names), small_trainer(default_root_dir=tmp_path)
    trainer.fit(task, data)
    assert {"train/loss_classifier", "train/loss_box", "val/AP"} <= set(trainer.callback_metrics)
    assert len(list((tmp_path / "kept").rglob("*.npy"))) == 7
    trainer.test(task, data, verbose=False)
    assert "AP50" in task.results.overall


def test_predicting_a_new_image_equals_testing_it(tmp_path):
    data = proposing_data(tmp_path)
    options = ProposalOptions(mode="single", folder="elsewhere", file="also elsewhere")
    network = fast_rcnn_task(data.class_names).network
    preprocess = DetectionPreprocessOptions(short_side=2 * SIZE, long_side=4 * SIZE)
    task = DetectionPipeline(network, data.class_names, preprocess=preprocess, proposals=options).eval()
    batch = next(iter(data.val_dataloader()))
    with torch.inference_mode():
        tested, predicted = task(batch.images, batch.targets), task(batch.images)
    assert len(tested[0]["boxes"])
    torch.testing.assert_close(tested, predicted)


def test_training_without_proposals_says_what_is_missing(tmp_path):
    data = small_data()
    with pytest.raises(DataError, match=r"data\.proposals"):
        small_trainer(default_root_dir=tmp_path).fit(fast_rcnn_task(data.class_names), data)


@pytest.mark.slow
def test_eight_images_can_be_learned_and_keep_their_classes(tmp_path):
    data = small_data(train=8, val=8, proposals=ProposalOptions(mode="fast", folder=str(tmp_path / "kept")))
    shape = {**data.splits.options["train"], "min_object": 0.35, "empty_share": 0.2}
    data.splits.options["train"], data.splits.options["val"] = dict(shape), dict(shape)
    assert any(not len(data.dataset("train").annotation(index)) for index in range(8))
    options = {"nms": {"score_threshold": 0.05}, "roi": {"batch_size_per_image": 64}, "pooling": "align"}
    task = fast_rcnn_task(data.class_names, lr=3e-4, **options)
    small_trainer(max_epochs=100, default_root_dir=tmp_path, check_val_every_n_epoch=100).fit(task, data)
    assert task.results.overall["AP50"] > 0.95
