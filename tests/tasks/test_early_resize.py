"""Training resizes images in the loader to the size of the model's input."""

import pytest
import torch

import visionkit as vk
from tests.helpers.small_trainer import small_trainer

CLASSES = 6


def fitted(task_class, model, options, masks=False):
    """The datamodule after one step, and the images that the model was given."""
    data = vk.VisionData(
        "shapes",
        splits={"train": {"count": 4, "size": 64, "semantic": masks}},
        batch_size=4,
        num_workers=0,
        augment=[{"name": "HorizontalFlip"}],
        required="semantic" if masks else None,
    )
    task = task_class(model, data.class_names, preprocess=options)
    seen = []
    preprocessing = task.preprocessing
    preprocessing.normalize.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    torch.manual_seed(0)
    small_trainer(max_steps=1, limit_val_batches=0).fit(task, data)
    return data, seen


def test_a_detector_is_given_resized_images():
    model = vk.RetinaNet(vk.create_backbone("resnet18", weights="none"), num_classes=CLASSES)
    data, seen = fitted(vk.Detection, model, vk.DetectionPreprocessOptions(short_side=32, long_side=64))
    assert data.augmentation.input_size(64, 64) == (32, 32)
    images = next(iter(data.train_dataloader())).images
    assert {tuple(image.shape) for image in images} == {(3, 32, 32)}
    assert {tuple(image.shape[-2:]) for image in seen} == {(32, 32)}


@pytest.mark.parametrize(
    ("options", "expected"), [({"short_side": 32}, (32, 32)), ({"size": [32, 48]}, (32, 48))], ids=["side", "size"]
)
def test_a_segmentation_model_is_given_resized_images_and_whole_masks(options, expected):
    model = vk.UNet(vk.create_backbone("resnet18", weights="none"), num_classes=CLASSES + 1)  # and a background
    data, seen = fitted(vk.Segmentation, model, vk.SegmentationPreprocessOptions(**options), masks=True)
    batch = next(iter(data.train_dataloader()))
    assert {tuple(image.shape) for image in batch.images} == {(3, *expected)}
    assert {tuple(target["semantic"].shape) for target in batch.targets} == {(64, 64)}
    assert {tuple(image.shape[-2:]) for image in seen} == {expected}


@pytest.mark.parametrize("multi_scale", [None, [32, 64]])
def test_a_detector_whose_size_changes_resizes_images_itself(multi_scale):
    model = vk.RetinaNet(vk.create_backbone("resnet18", weights="none"), num_classes=CLASSES)
    options = vk.DetectionPreprocessOptions(size=[32, 32], multi_scale=multi_scale)
    data, _ = fitted(vk.Detection, model, options)
    images = next(iter(data.train_dataloader())).images
    expected = (3, 32, 32) if multi_scale is None else (3, 64, 64)
    assert {tuple(image.shape) for image in images} == {expected}
