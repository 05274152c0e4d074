import copy

import pytest
import torch
from torch import nn
from torchvision.transforms.v2 import functional as transforms

from tests.helpers.small_classifier import small_classification, small_network
from visionkit.data.datasets.shapes import SHAPE_OUTLINES
from visionkit.errors import ConfigError
from visionkit.models.base import ClassificationModel
from visionkit.ops.crops import crop_kinds
from visionkit.pipelines.classification import ClassificationInferenceOptions
from visionkit.pipelines.classification_tta import CROPS_PER_BATCH, batched, crop_schemes
from visionkit.preprocessing.classification import ClassificationPreprocessOptions
from visionkit.tasks import Task

NAMES = list(SHAPE_OUTLINES)
COUNTS = {"center": 1, "ten_crop": 10, "grid": 50, "squares": 6, "googlenet": 36}
SHORT_SIDE, CROP = 40, 32


def task_with(network=None, **inference):
    task = small_classification(
        NAMES,
        network,
        preprocess=ClassificationPreprocessOptions(SHORT_SIDE, CROP),
        inference=ClassificationInferenceOptions(**inference),
    )
    return task.eval()


@pytest.fixture(scope="module")
def network():
    network = small_network(len(NAMES))
    with torch.no_grad():  # so that classes and places differ
        network.head.fc.weight.mul_(20)
    return network


def image(height, width, seed=0):
    return torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def seen_by(task, images):
    """Return the probabilities, and the number and size of the views in each forward pass."""
    shapes = []
    watch = task.backbone.register_forward_pre_hook(lambda module, x: shapes.append(tuple(x[0].shape)))
    with torch.inference_mode():
        found = task(images)
    watch.remove()
    return found, shapes


def test_ten_crops_are_torchvisions_averaged(network):
    task, given = task_with(network, tta_views="ten_crop"), image(50, 70)
    crops = torch.stack(transforms.ten_crop(transforms.resize(given, [SHORT_SIDE], antialias=True), [CROP, CROP]))
    with torch.inference_mode():
        expected = network(task.preprocessing.normalize(crops)).softmax(dim=1).mean(dim=0)
    torch.testing.assert_close(seen_by(task, [given])[0][0], expected, rtol=1e-4, atol=1e-5)


def test_the_center_alone_is_the_preprocessing_of_training_and_validation(network):
    task, images = task_with(network), [image(50, 70), image(33, 41)]
    with torch.inference_mode():
        expected = network(task.preprocessing(images)).softmax(dim=1)
    torch.testing.assert_close(seen_by(task, images)[0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("views", COUNTS)
def test_every_published_number_of_views_is_used(network, views):
    assert set(COUNTS) == set(crop_kinds)
    assert set(crop_schemes) == {*crop_kinds, "dense", "whole"}
    for short_sides in ([], [CROP, 48, 64]):
        found, shapes = seen_by(task_with(network, tta_views=views, tta_short_sides=short_sides), [image(50, 70)])
        assert sum(shape[0] for shape in shapes) == COUNTS[views] * max(len(short_sides), 1)
        assert {shape[1:] for shape in shapes} == {(3, CROP, CROP)}
        torch.testing.assert_close(found.sum(dim=1), torch.ones(1))


def test_the_scales_count_alike(network):
    given = [image(50, 70), image(90, 35, seed=1)]
    for views in ("center", "ten_crop", "dense"):
        several, _ = seen_by(task_with(network, tta_views=views, tta_short_sides=[32, 48, 64]), given)
        alone = [
            seen_by(task_with(network, tta_views=views, tta_short_sides=[scale]), given)[0] for scale in (32, 48, 64)
        ]
        torch.testing.assert_close(several, torch.stack(alone).mean(dim=0), rtol=1e-4, atol=1e-5)


def test_a_mirrored_image_is_the_same_where_flips_count(network):
    given = image(50, 70)
    for views, flip, same in [("center", True, True), ("dense", None, True), ("dense", False, False)]:
        task = task_with(network, tta_views=views, flip=flip)
        plain, mirrored = (seen_by(task, [one])[0] for one in (given, given.flip(-1)))
        assert torch.allclose(plain, mirrored, atol=1e-5) == same, (views, flip)


def test_dense_on_one_crop_is_the_plain_network(network):
    for given in (network, small_network(len(NAMES), "cifar_densenet_40_12"), small_network(len(NAMES), "lenet5")):
        exact = image(CROP, CROP)
        dense = seen_by(task_with(given, tta_views="dense", tta_short_sides=[CROP], flip=False), [exact])[0]
        plain = seen_by(task_with(given, tta_short_sides=[CROP]), [exact])[0]
        torch.testing.assert_close(dense, plain, rtol=1e-4, atol=1e-5)


def test_dense_is_the_mean_of_the_logits_everywhere_and_of_the_probabilities_of_both_sides():
    """LeNet-5 has no padding: its dense form equals its output on every window with a stride of four pixels."""
    given = small_network(len(NAMES), "lenet5_modern")
    task = task_with(given, tta_views="dense")
    resized = transforms.resize(image(50, 70), [SHORT_SIDE], antialias=True)
    sides = []
    with torch.inference_mode():
        for side in (resized, resized.flip(-1)):
            x = task.preprocessing.normalize(side)
            height, width = x.shape[1:]
            places = [(t, r) for t in range(0, height - CROP + 1, 4) for r in range(0, width - CROP + 1, 4)]
            windows = torch.stack([x[:, top : top + CROP, left : left + CROP] for top, left in places])
            sides.append(given(windows).mean(dim=0).softmax(dim=0))
    found, shapes = seen_by(task, [image(50, 70)])
    assert shapes == [(2, 3, 40, 56)]
    torch.testing.assert_close(found[0], torch.stack(sides).mean(dim=0), rtol=1e-4, atol=1e-5)


def test_whole_images_are_not_cropped(network):
    found, shapes = seen_by(task_with(network, tta_views="whole"), [image(50, 70), image(80, 40)])
    assert shapes == [(1, 3, 40, 56), (1, 3, 80, 40)]
    both, shapes = seen_by(task_with(network, tta_views="whole", flip=True), [image(50, 70)])
    assert shapes == [(2, 3, 40, 56)]
    mirrored, _ = seen_by(task_with(network, tta_views="whole"), [image(50, 70).flip(-1)])
    torch.testing.assert_close(both, (found[:1] + mirrored) / 2, rtol=1e-4, atol=1e-5)


def test_a_fixed_size_has_no_crops(network):
    preprocess = ClassificationPreprocessOptions(size=[48, 32])
    task = small_classification(NAMES, network, preprocess=preprocess).eval()
    assert seen_by(task, [image(50, 70), image(80, 40)])[1] == [(2, 3, 48, 32)]
    for inference, message in [
        ({"tta_views": "ten_crop"}, "tta_views=ten_crop crops images, but preprocess.size"),
        ({"tta_short_sides": [48]}, "tta_short_sides: preprocess.size"),
    ]:
        with pytest.raises(ConfigError, match=message):
            task.model_pipeline.set_inference(ClassificationInferenceOptions(**inference))


def test_views_go_through_the_network_a_few_at_a_time(network):
    _, shapes = seen_by(task_with(network, tta_views="grid", tta_short_sides=[40, 48]), [image(50, 70)] * 2)
    assert max(shape[0] for shape in shapes) == CROPS_PER_BATCH
    _, shapes = seen_by(task_with(network), [image(40, 40)] * (CROPS_PER_BATCH + 5))
    assert [shape[0] for shape in shapes] == [CROPS_PER_BATCH + 5], "a batch of images is not taken apart"
    _, shapes = seen_by(task_with(network, tta_views="dense", tta_short_sides=[64, 256]), [image(64, 64)] * 3)
    assert [shape[0] * shape[2] * shape[3] for shape in shapes[:2]] == [4 * 64**2, 2 * 64**2]
    assert [shape[0] for shape in shapes[2:]] == [1] * 6, "a view too large for a batch comes alone"


def test_only_views_of_one_size_come_together():
    views = [torch.zeros(3, *size) for size in [(4, 4), (4, 4), (4, 6), (4, 4), (9, 9)]]
    assert [tuple(batch.shape[::2]) for batch in batched(views, max_pixels=40)] == [(2, 4), (1, 4), (1, 4), (1, 9)]


def test_images_do_not_mix(network):
    task = task_with(network, tta_views="ten_crop", tta_short_sides=[32, 40])
    images = [image(*size, seed) for seed, size in enumerate([(40, 40), (70, 33), (20, 90)])]
    together = seen_by(task, images)[0]
    torch.testing.assert_close(together, torch.cat([seen_by(task, [one])[0] for one in images]), atol=1e-5, rtol=1e-4)


def test_several_labels_per_image_are_averaged_one_by_one(network):
    several = copy.deepcopy(network)
    several.multi_label = True
    task = task_with(several, tta_views="ten_crop")
    found, _ = seen_by(task, [image(50, 70)])
    assert found.sum() != pytest.approx(1, abs=1e-3)
    assert ((found > 0) & (found < 1)).all()


def test_a_loaded_checkpoint_uses_its_views(network, tmp_path):
    task = task_with(network, tta_views="ten_crop", tta_short_sides=[32, 48])
    torch.save({"state_dict": task.state_dict(), "visionkit": task.description()}, tmp_path / "a.ckpt")
    again = Task.load_from_checkpoint(tmp_path / "a.ckpt")
    assert again.pipeline.inference_options == task.pipeline.inference_options
    given = image(50, 70)
    said = again.pipeline.predict(given.permute(1, 2, 0).numpy())[0]
    expected = seen_by(task, [given])[0][0]
    torch.testing.assert_close(torch.from_numpy(said.scores), expected.sort(descending=True).values)


def test_views_that_cannot_be_are_refused():
    with pytest.raises(ConfigError, match=r"unknown views 'tenn'; known: .*ten_crop"):
        ClassificationInferenceOptions(tta_views="tenn")
    with pytest.raises(ConfigError, match=r"inference\.tta_short_sides: 24 is below preprocess\.crop 32"):
        task_with(tta_views="ten_crop", tta_short_sides=[40, 24])

    class Plain(ClassificationModel):
        def __init__(self):
            super().__init__()
            self.backbone = nn.Linear(3, 6)

        def forward(self, x):
            return self.backbone(x.mean(dim=(2, 3)))

    with pytest.raises(ConfigError, match="no dense form"):
        task_with(Plain(), tta_views="dense")([image(40, 40)])
