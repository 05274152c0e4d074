"""Images that are resized to a fixed size, each axis by itself."""

import pytest
import torch

from tests.helpers.small_segmenter import ColorSegmenter, SmallSegmenter
from visionkit.pipelines import SegmentationInferenceOptions, SegmentationPipeline
from visionkit.pipelines.segmentation import most_probable_classes
from visionkit.preprocessing.segmentation import SegmentationPreprocessOptions

NAMES = ["red", "green", "blue"]


def image(height, width):
    return torch.randint(256, (3, height, width), dtype=torch.uint8)


def pipeline_of(network, size, **options):
    """Return a pipeline, and the list of the sizes of the network's inputs."""
    preprocess = SegmentationPreprocessOptions(size=size, mean=[0.0] * 3, std=[1.0] * 3)
    pipeline = SegmentationPipeline(
        network, NAMES, preprocess=preprocess, inference=SegmentationInferenceOptions(**options)
    )
    seen = []
    network.register_forward_pre_hook(lambda _, given: seen.append(tuple(given[0].shape[-2:])))
    return pipeline.eval(), seen


@torch.no_grad()
def predicted(pipeline, images):
    return pipeline(images)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_confidences_of_classes_are_those_of_the_softmax(dtype):
    logits = 20 * torch.randn(3, 7, 5, 6, generator=torch.Generator().manual_seed(0)).to(dtype)
    logits[0, :, 0] = 1000.0
    expected, labels = logits.float().softmax(1).max(1)
    found = most_probable_classes(logits)
    assert torch.equal(found.labels, labels)
    torch.testing.assert_close(found.confidences, expected)


def test_predictions_come_at_the_size_of_the_image():
    images = [image(20, 31), image(7, 5), image(24, 16)]
    pipeline, seen = pipeline_of(SmallSegmenter(3), [24, 16])
    assert [found.shape for found in predicted(pipeline, images)] == [pixels.shape[-2:] for pixels in images]
    assert seen == [(24, 16)] * 3


def test_scales_of_views_multiply_the_size():
    pipeline, seen = pipeline_of(SmallSegmenter(3), [24, 16], tta_scales=[0.5, 1.0, 1.25], flip=True)
    (found,) = predicted(pipeline, [image(20, 31)])
    assert found.shape == (20, 31)
    assert seen == [(12, 8)] * 2 + [(24, 16)] * 2 + [(30, 20)] * 2


def test_a_tile_is_scaled_as_its_image_is():
    """The image is halved vertically and enlarged three times horizontally, and so are its tiles."""
    pipeline, seen = pipeline_of(SmallSegmenter(3), [20, 180], tile=16, overlap=4)
    (found,) = predicted(pipeline, [image(40, 60)])
    assert found.shape == (40, 60)
    assert set(seen) == {(8, 48)}


def test_tiles_agree_with_the_whole_image_where_each_pixel_stands_alone():
    pixels = image(40, 60)
    pixels[:, :, :30] = torch.tensor([200, 30, 10], dtype=torch.uint8)[:, None, None]
    pixels[:, :, 30:] = torch.tensor([20, 30, 210], dtype=torch.uint8)[:, None, None]
    for options in ({}, {"tile": 16, "overlap": 4}):
        pipeline, _ = pipeline_of(ColorSegmenter(), [80, 180], **options)
        (found,) = predicted(pipeline, [pixels])
        assert (found[:, :30] == 0).all()
        assert (found[:, 30:] == 2).all()
