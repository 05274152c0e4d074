"""A head trained on cached features, through `visionkit fit`."""

import logging
import re

import numpy as np
import pytest
import torch
from PIL import Image

from tests.helpers.small_trainer import small_trainer
from visionkit.backbones import create_backbone
from visionkit.cli.main import main
from visionkit.data.datamodule import VisionData
from visionkit.engine import feature_cache
from visionkit.engine.feature_cache import FeatureCache, FeatureCacheOptions
from visionkit.engine.run_folder import RunName, latest_checkpoint
from visionkit.engine.time_budget import FEATURE_EPOCHS, TimeBudget
from visionkit.models.classification.classifier import Classifier
from visionkit.tasks.classification import Classification

CARD = """
data:
  format: folder
  root: photos
  splits: {train: {path: train}, val: {path: val}}
"""
RECIPE = """
task: classification
model: {name: classifier, backbone: {name: cifar_resnet20, weights: net.pth, batch_norm: frozen, frozen_stages: all}}
preprocess: {short_side: 40, crop: 32}
optimizer: {name: adam, lr: 0.01, base_batch_size: 4}
schedule: {name: cosine, warmup_steps: 0}
data: {batch_size: 4, num_workers: 0}
trainer: {max_epochs: 2, accelerator: cpu, enable_progress_bar: false, enable_model_summary: false}
"""
CACHE, NO_CACHE = "feature_cache.folder=kept", "feature_cache=null"
FLIP = "data.augment=[{name: HorizontalFlip, p: 0.5}]"


def write_weights(seed):
    torch.manual_seed(seed)
    torch.save(create_backbone("cifar_resnet20", weights="none").state_dict(), "net.pth")


def write_image(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (32, 32, 3) if seed % 3 == 0 else (50, 44, 3)  # images of the crop's size train as they are
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)).save(path)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for index in range(14):
        split = "val" if index >= 10 else "train"
        write_image(tmp_path / "photos" / split / "ab"[index % 2] / f"{index}.png", index)
    write_weights(0)
    (tmp_path / "card.yaml").write_text(CARD)
    (tmp_path / "mine.yaml").write_text(RECIPE)
    return tmp_path


@pytest.fixture
def computed(monkeypatch):
    """Number of images in each batch that the cache computed."""
    sizes, compute = [], feature_cache._compute
    monkeypatch.setattr(
        feature_cache,
        "_compute",
        lambda task, images, training: (sizes.append(len(images)), compute(task, images, training))[1],
    )
    return sizes


def fit(*words):
    """Train and return the content of the last checkpoint."""
    assert main(["fit", "mine.yaml", "card.yaml", *words]) == 0
    return torch.load(latest_checkpoint(RunName("mine", ["card"])), weights_only=True)


def fit_in_python(callback, data=None):
    """Train a head with a callback, and return the data."""
    splits = {split: {"path": split} for split in ("train", "val")}
    data = data or VisionData("folder", "photos", splits, batch_size=4, num_workers=0)
    backbone = create_backbone("cifar_resnet20", weights="net.pth", frozen_stages="all")
    task = Classification(Classifier(backbone, num_classes=2), data.class_names)
    small_trainer(callbacks=[callback]).fit(task, data)
    return data


def recount(computed):
    counted = sum(computed)
    computed.clear()
    return counted


@pytest.mark.parametrize("backbone", ["resnet18", "lenet5"])
def test_a_run_on_cached_features_gives_the_same_weights(backbone, folder, computed):
    """One head averages the feature map, so that its mean is cached; the other uses every cell."""
    torch.save(create_backbone(backbone, weights="none").state_dict(), "net.pth")
    words = [f"model.backbone={backbone}"]
    plain = fit(NO_CACHE, *words)
    assert recount(computed) == 0
    for options, expected in (([], 14), ([CACHE], 14), ([CACHE], 0)):  # in memory, into files, from files
        kept = fit(*options, *words)
        assert recount(computed) == expected
        assert kept["state_dict"].keys() == plain["state_dict"].keys()
        for key, value in plain["state_dict"].items():
            torch.testing.assert_close(kept["state_dict"][key], value, rtol=1e-4, atol=1e-5, msg=key)
        for name in ("val/loss", "val/top1", "train/loss"):
            found, wanted = (run["visionkit"]["metrics"][name] for run in (kept, plain))
            assert found == pytest.approx(wanted, rel=1e-4)


def test_only_a_changed_image_is_computed_again(folder, computed):
    fit(CACHE)
    recount(computed)
    write_image(folder / "photos" / "train" / "a" / "4.png", 104)
    fit(CACHE)
    assert recount(computed) == 1
    (folder / "photos" / "train" / "a" / "4.png").rename(folder / "photos" / "train" / "a" / "renamed.png")
    fit(CACHE)
    assert recount(computed) == 0, "the name of a file is not part of its content"


@pytest.mark.parametrize(
    "change", ["weights", "preprocess.crop=24", "preprocess.mean=[0.4,0.4,0.4]", "model.backbone.out_stages=[s2]"]
)
def test_another_network_or_preprocessing_has_its_own_features(change, folder, computed):
    fit(CACHE)
    recount(computed)
    if change == "weights":
        write_weights(1)
    fit(CACHE, *([] if change == "weights" else [change]))
    assert recount(computed) == 14


def test_a_damaged_file_is_logged_and_computed_again(folder, computed, caplog):
    fit(CACHE)
    recount(computed)
    for file in (folder / "kept").iterdir():
        content = torch.load(file, weights_only=True)
        content["features"][0] += 1
        torch.save(content, file)
    with caplog.at_level(logging.WARNING, logger="visionkit"):
        logging.getLogger("visionkit").addHandler(caplog.handler)
        fit(CACHE)
        logging.getLogger("visionkit").removeHandler(caplog.handler)
    assert recount(computed) == 14
    assert "changed since it was written" in caplog.text
    fit(CACHE)
    assert recount(computed) == 0
    for file in (folder / "kept").iterdir():
        file.write_bytes(file.read_bytes()[:100])
    fit(CACHE)
    assert recount(computed) == 14


def test_a_run_is_only_resumed_with_the_backbone_of_its_features(folder, computed, capsys):
    fit(CACHE)
    assert main(["fit", "mine.yaml", "card.yaml", CACHE, "trainer.max_epochs=3", "--resume"]) == 0
    assert recount(computed) == 14
    write_weights(1)
    capsys.readouterr()
    assert main(["fit", "mine.yaml", "card.yaml", CACHE, "trainer.max_epochs=4", "--resume"]) == 2
    assert "the checkpoint's backbone has other weights" in capsys.readouterr().err


def test_the_checkpoint_predicts_from_images(folder):
    fit(CACHE)
    assert main(["validate", "runs/mine-card/1/last.ckpt"]) == 0


@pytest.fixture
def told(capsys):
    """Return what visionkit has logged since the last call."""
    return lambda: " ".join(capsys.readouterr().err.split())


def test_features_are_kept_without_being_asked_for(folder, computed, told):
    before = torch.load("net.pth", weights_only=True)
    after = fit("model.backbone.batch_norm=trained")["state_dict"]
    assert recount(computed) == 14, "each image once in two epochs"
    assert "features of 14 images are computed once and kept in memory" in told()
    assert sorted(path.name for path in folder.iterdir()) == ["card.yaml", "mine.yaml", "net.pth", "photos", "runs"]
    for key, value in before.items():
        assert torch.equal(after[f"pipeline.network.backbone.{key}"], value), f"{key} was trained"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([FLIP], "data.augment changes the images at random"),
        (["mixing.mixup_alpha=0.2"], "mixing changes the images at random"),
        (["model.backbone.frozen_stages=2"], None),
        (["unfreeze={epoch: 1, frozen_stages: 2}"], None),
    ],
)
def test_features_that_change_are_computed_in_every_epoch(words, reason, folder, computed, told):
    fit(*words)
    assert recount(computed) == 0
    messages = told()
    assert ("features are computed in every epoch" in messages) == (reason is not None)
    assert (reason or "") in messages


def test_only_what_is_read_is_computed(folder, computed):
    """Also for the files of a folder; an unreadable image of val does no harm if there is no validation."""
    for words in ([], [CACHE]):
        fit(*words, "trainer.max_epochs=0")
        assert main(["fit", "mine.yaml", "card.yaml", *words, "trainer.fast_dev_run=true"]) == 0
        assert recount(computed) == 0
    for path in (folder / "photos" / "val").rglob("*.png"):
        path.write_text("no image")
    fit("trainer.limit_val_batches=0")
    assert recount(computed) == 10


def test_a_val_split_without_images_is_left_out(folder, computed):
    pairs = [(torch.zeros(3, 32, 32), index % 2) for index in range(8)]
    data = VisionData.from_datasets(train=pairs, val=[], class_names=["a", "b"], batch_size=4, num_workers=0)
    fit_in_python(FeatureCache(FeatureCacheOptions()), data)
    assert recount(computed) == 1, "of equal images"


@pytest.mark.parametrize("words", [[], [CACHE]])
def test_features_of_a_network_in_bfloat16_are_computed_once(words, folder, computed):
    fit(*words, "trainer.precision=bf16-true")
    assert recount(computed) == 14


def test_features_that_need_too_much_memory_are_computed_in_every_epoch(folder, computed, told, monkeypatch):
    monkeypatch.setattr(feature_cache, "MEASURED_BATCHES", 1)
    monkeypatch.setattr(feature_cache, "MOST_BYTES", 14 * 64 * 4 - 1)
    fit()
    assert recount(computed) == 4
    assert "features are computed in every epoch: they need" in told()
    monkeypatch.setattr(feature_cache, "MOST_BYTES", 14 * 64 * 4)
    fit()
    assert recount(computed) == 14


def test_features_that_need_too_much_of_the_time_are_computed_in_every_epoch(folder, computed, caplog, monkeypatch):
    caplog.set_level(logging.INFO, logger="visionkit")
    fit_in_python(FeatureCache(FeatureCacheOptions(), TimeBudget(1e-6)))
    assert recount(computed) == 10, "train has less than the measured batches; val is not begun"
    monkeypatch.setattr(feature_cache, "MEASURED_BATCHES", 1)
    fit_in_python(FeatureCache(FeatureCacheOptions(), TimeBudget(1e-6)))
    assert recount(computed) == 4
    assert "features are computed in every epoch: all would take" in caplog.text
    fit_in_python(FeatureCache(FeatureCacheOptions(), TimeBudget(3600)))
    assert recount(computed) == 14


def test_features_in_memory_are_computed_again_for_the_weights_of_a_resumed_run(folder, computed):
    expected = fit("trainer.max_epochs=3")["state_dict"]
    fit()
    write_weights(1)
    recount(computed)
    assert main(["fit", "mine.yaml", "card.yaml", "trainer.max_epochs=3", "--resume"]) == 0
    assert recount(computed) == 28, "with the weights of the recipe, then with those of the checkpoint"
    for key, value in torch.load(latest_checkpoint(RunName("mine", ["card"])), weights_only=True)["state_dict"].items():
        assert "backbone" not in key or torch.equal(value, expected[key])


def test_data_that_is_used_again_gives_images(folder):
    data = fit_in_python(FeatureCache(FeatureCacheOptions()))
    assert not data.cached_features
    assert not next(iter(data.train_dataloader())).holds_features


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([FLIP], "data.augment changes the images at random"),
        (["model.backbone.frozen_stages=2"], "set model.backbone.frozen_stages=all"),
        (["unfreeze={epoch: 1, frozen_stages: 2}"], "remove unfreeze"),
        (["mixing.mixup_alpha=0.2"], "mixing changes the images"),
        (["feature_cache=3"], "feature_cache must hold keys"),
        (["feature_cache.foldr=x"], "unknown key feature_cache.foldr"),
    ],
)
def test_options_that_change_features_raise(words, message, folder, capsys):
    assert main(["fit", "mine.yaml", "card.yaml", CACHE, *words]) == 2
    text = capsys.readouterr().err.partition("visionkit: ")[2]
    assert message in re.sub(r"\s+", " ", text)
    assert len(text.strip().splitlines()) <= 5


@pytest.mark.parametrize("accumulated", [1, 2])
def test_a_given_time_is_not_used_up_when_features_are_kept(accumulated, folder):
    words = ["schedule.min_steps=7", "--minutes", "5", f"trainer.accumulate_grad_batches={accumulated}"]
    assert fit(*words)["global_step"] == FEATURE_EPOCHS * 7, "more than two epochs of two batches"


def test_a_time_that_is_over_before_training_starts_is_refused(folder, capsys):
    assert main(["fit", "mine.yaml", "card.yaml", "--minutes", "0.0001"]) == 2
    assert "--minutes: the time was over before training could start" in capsys.readouterr().err
    assert not (folder / "runs").exists(), "there is no run that --resume would look for"
