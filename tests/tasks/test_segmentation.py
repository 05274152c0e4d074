import math

import pytest
import torch
from torch import nn

from tests.helpers.metric_cases import flat
from tests.helpers.small_segmenter import SIDE, ColorSegmenter, SmallSegmenter, small_masks, small_segmentation
from tests.helpers.small_trainer import small_trainer
from visionkit.data.batch import Batch
from visionkit.errors import ConfigError
from visionkit.ops.tiles import Tile
from visionkit.pipelines import SegmentationInferenceOptions, SegmentationPipeline, make_ensemble
from visionkit.preprocessing.segmentation import SegmentationPreprocessOptions
from visionkit.tasks import Segmentation, SegmentationEvaluationOptions, SegmentationLossOptions

COLORS = ["red", "green", "blue"]
SAME = {"mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0]}


def image(height, width, seed=0):
    """Noise, uint8 [3, height, width]."""
    return torch.randint(256, (3, height, width), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def by_color(**options):
    """Return a task whose network predicts each pixel's strongest color."""
    task = small_segmentation(COLORS, ColorSegmenter(), preprocess=SegmentationPreprocessOptions(**SAME))
    task.pipeline.set_inference(SegmentationInferenceOptions(**options))
    return task.eval()


def fit(task, data, **options):
    trainer = small_trainer(**options)
    trainer.fit(task, data)
    return trainer


@pytest.fixture(scope="module")
def data():
    return small_masks()


def test_it_learns_and_scores(data):
    task = small_segmentation(data.class_names)
    fit(task, data, max_epochs=1)
    before = task.results.overall
    fit(task, data, max_epochs=45)
    assert task.monitor == "val/mIoU"
    assert task.results.overall["mIoU"] > before["mIoU"] + 0.05
    assert set(task.results.overall) >= {"pixel_accuracy", "mean_accuracy", "fwIoU"}
    assert "background" in task.results.per_class["IoU"]
    assert "background" in task.results.per_class["pixels"]


def test_validation_scores_what_test_predicts(data):
    task = small_segmentation(data.class_names)
    trainer = fit(task, data, max_epochs=2)
    validated = task.results
    trainer.test(task, data.val_dataloader(), verbose=False)
    assert flat(task.results) == pytest.approx(flat(validated), rel=0, abs=0, nan_ok=True)
    rows = task.predictions_for_json()
    assert len(rows) == 6
    assert sum(rows[0]["shares"].values()) == pytest.approx(1)
    counted = sum(row["predictions"] for row in task.results.extras["calibration"]["bins"])
    assert counted == 6 * SIDE * SIDE
    assert "calibration_error" in task.results.intervals.overall
    confusion = torch.tensor(task.results.extras["confusion"])
    assert confusion.sum().item() == 6 * SIDE * SIDE


@pytest.mark.parametrize(
    ("options", "weights"),
    [
        ({"terms": ["cross_entropy", "dice"], "class_weights": "median_frequency"}, True),
        ({"terms": ["bootstrapped"], "class_weights": "balanced"}, True),
        ({"terms": ["focal", "jaccard"], "term_weights": [1.0, 0.5]}, False),
    ],
)
def test_losses_of_the_recipe_train(options, weights, data):
    task = small_segmentation(data.class_names, loss=SegmentationLossOptions(**options))
    fit(task, data)
    assert (task.class_weights is not None) == weights
    if weights:
        counts = data.pixel_counts("train").counts
        assert task.class_weights.argmin() == int(counts.argmax())


def test_class_weights_that_must_be_counted_need_the_datamodule(data):
    task = small_segmentation(data.class_names, loss=SegmentationLossOptions(class_weights="balanced"))
    with pytest.raises(ConfigError, match=r"loss.class_weights: give 7 numbers"):
        small_trainer().fit(task, data.train_dataloader())


def test_auxiliary_heads_learn_along():
    class TwoHeads(SmallSegmenter):
        def __init__(self, classes):
            super().__init__(classes)
            self.second = nn.Conv2d(16, classes, 1)

        def weighted_logits(self, x):
            return [(1.0, self(x)), (0.4, self.second(self.backbone(x)))]

    data = small_masks(train=4)
    task = small_segmentation(data.class_names, TwoHeads(7))
    before = task.network.second.weight.detach().clone()
    fit(task, data)
    assert not torch.equal(before, task.network.second.weight)


def test_images_of_several_sizes_are_padded_with_ignored_pixels():
    task = by_color()
    images, masks = [image(8, 12), image(10, 6, 1)], [torch.zeros(8, 12), torch.ones(10, 6)]
    batch, classes = task.preprocessing.batch(images, [mask.to(torch.uint8) for mask in masks])
    assert batch.shape == (2, 3, 10, 12)
    assert (classes[0, :8] == 0).all()
    assert (classes[0, 8:] == 255).all()
    assert (classes[1, :, :6] == 1).all()
    assert (classes[1, :, 6:] == 255).all()
    torch.testing.assert_close(batch[1, :, :, :6], images[1] / 255)


def test_masks_are_resized_to_the_nearest_class():
    task = small_segmentation(COLORS, ColorSegmenter(), preprocess=SegmentationPreprocessOptions(short_side=5, **SAME))
    mask = torch.randint(3, (13, 17), dtype=torch.uint8)
    mask[:3] = 255
    prepared, classes = task.preprocessing.batch([image(13, 17)], [mask])
    assert prepared.shape[-2:] == classes.shape[-2:] == (5, 7)
    assert set(classes.unique().tolist()) <= {0, 1, 2, 255}


def test_a_batch_of_void_gives_no_loss_and_no_gradient():
    task = small_segmentation(COLORS, SmallSegmenter(3))
    logits = task.network(torch.rand(1, 3, 8, 8))
    loss = task.loss(logits, torch.full((1, 8, 8), 255))
    loss.backward()
    assert loss.item() == 0
    assert all(not parameter.grad.any() for parameter in task.network.parameters())


def test_predictions_come_at_the_size_of_the_image():
    task = small_segmentation(COLORS, SmallSegmenter(3), preprocess=SegmentationPreprocessOptions(short_side=9)).eval()
    with torch.no_grad():
        first, second, third = task([image(20, 31), image(7, 5), image(20, 31, 1)])
        (alone,) = task([image(7, 5)])
    assert [tuple(found.shape) for found in (first, second, third)] == [(20, 31), (7, 5), (20, 31)]
    assert first.dtype == torch.uint8
    assert torch.equal(second, alone)


@pytest.mark.parametrize(
    "options", [{"tile": 16, "overlap": 4}, {"flip": True}, {"tile": 8, "overlap": 0, "flip": True}]
)
def test_tiles_and_mirrors_change_nothing_where_each_pixel_stands_alone(options):
    """The image is bigger than a tile in both directions, in one, and in none."""
    images = [image(37, 50), image(10, 40), image(6, 7)]
    with torch.no_grad():
        for found, own in zip(by_color(**options)(images), images, strict=True):
            assert torch.equal(found, own.float().argmax(0).to(torch.uint8))


@pytest.mark.parametrize("options", [{}, {"flip": True}, {"tta_scales": [1.0, 0.5]}, {"tile": 16, "overlap": 4}])
def test_each_class_has_its_probability(options):
    """The second image is smaller than a tile, and the third has the size of the first."""
    task = small_segmentation(COLORS, SmallSegmenter(3), preprocess=SegmentationPreprocessOptions(**SAME)).eval()
    task.pipeline.set_inference(SegmentationInferenceOptions(**options))
    images = [image(37, 50), image(10, 14), image(37, 50, 1)]
    with torch.no_grad():
        found, labels = task.pipeline.pixel_classes(images), task(images)
        whole = task.pipeline.probabilities(images[1][None], (10, 14))[0]
        ensemble = make_ensemble([task.pipeline, task.pipeline]).pixel_classes(images)
    for index, own in enumerate(labels):
        assert torch.equal(found[index].labels, own)
        assert torch.equal(ensemble[index].labels, own)
        assert found[index].confidences.shape == own.shape
        assert found[index].confidences.min() > 1 / 3 - 1e-6
        torch.testing.assert_close(ensemble[index].confidences, found[index].confidences)
    torch.testing.assert_close(found[1].confidences, whole.amax(0))


def test_scales_are_averaged():
    task, pixels = by_color(tta_scales=[1.0, 0.5]), image(12, 16)
    with torch.no_grad():
        found = task.pipeline.probabilities(pixels[None], (12, 16))[0]
        parts = [
            by_color(tta_scales=[factor]).pipeline.probabilities(pixels[None], (12, 16))[0] for factor in (1.0, 0.5)
        ]
    torch.testing.assert_close(found, (parts[0] + parts[1]) / 2)
    assert not torch.allclose(parts[0], parts[1])


def test_a_crop_in_training_is_scaled_as_the_whole_image_is():
    task = small_segmentation(
        COLORS, ColorSegmenter(), preprocess=SegmentationPreprocessOptions(scale=0.5, **SAME)
    ).eval()
    prepared, classes = task.preprocessing.batch([image(8, 8)], [torch.zeros(8, 8, dtype=torch.uint8)])
    assert prepared.shape[-2:] == classes.shape[-2:] == (4, 4)
    assert task.preprocessing.scale(40, 60) == (0.5, 0.5)
    with torch.no_grad():
        assert task([image(40, 60)])[0].shape == (40, 60)


def test_a_tile_is_scaled_as_its_image_is():
    """An image that is halved: so are its tiles, whatever their own size."""
    task = small_segmentation(
        COLORS, ColorSegmenter(), preprocess=SegmentationPreprocessOptions(short_side=20, **SAME)
    ).eval()
    seen = []
    task.network.register_forward_pre_hook(lambda _, given: seen.append(tuple(given[0].shape[-2:])))
    task.pipeline.set_inference(SegmentationInferenceOptions(tile=16, overlap=4))
    with torch.no_grad():
        task([image(40, 60)])
    assert set(seen) == {(8, 8)}
    assert Tile(0, 0, 16, 16).cut(image(40, 60)).shape == (3, 16, 16)


def test_what_describes_the_task_builds_it_again():
    task = small_segmentation(COLORS, ColorSegmenter(), class_colors=[(1, 2, 3), (4, 5, 6), (7, 8, 9)])
    again = Segmentation.from_description(
        task.description(), SegmentationPipeline.from_description(task.description(), ColorSegmenter())
    )
    assert again.pipeline.class_colors == [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
    assert again.description() == task.description()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: SegmentationLossOptions(terms=["dize"]), "did you mean dice"),
        (lambda: SegmentationLossOptions(terms=["dice"], term_weights=[1.0, 2.0]), "one number for each of the terms"),
        (lambda: SegmentationLossOptions(hard_fraction=0.0), "above 0"),
        (lambda: SegmentationInferenceOptions(tile=64, overlap=64), "overlap=64 must be at least 0 and below 64"),
        (lambda: SegmentationInferenceOptions(tta_scales=[]), "must not be empty"),
        (lambda: SegmentationEvaluationOptions(metric="boundary_F1"), "boundaries=true"),
        (lambda: SegmentationLossOptions(gamma=-1.0), "at least 0"),
        (lambda: SegmentationPreprocessOptions(short_side=9, long_side=8), "at most long_side=8"),
        (lambda: SegmentationPreprocessOptions(short_side=9, scale=0.5), "scale=0.5 excludes short_side"),
    ],
)
def test_options_that_cannot_be_are_refused(make, said):
    with pytest.raises(ConfigError, match=said):
        make()


def test_the_loss_of_validation_is_that_of_its_pixels(data):
    task = small_segmentation(data.class_names)
    batch = next(iter(data.val_dataloader()))
    with torch.no_grad():
        task.validation_step(Batch(batch.images, batch.targets), 0)
    assert task.val_losses.images == {"loss": 4}
    assert math.isfinite(task.val_losses.compute()["loss"])
