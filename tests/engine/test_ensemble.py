import pytest
import torch

from tests.tasks.small import small_task
from tests.tasks.small_classifier import small_classification, small_network
from tests.tasks.small_segmenter import SmallSegmenter, small_segmentation
from visionkit.data.crop import CropPreprocess
from visionkit.data.formats.shapes import FORMS
from visionkit.data.scaling import ScalePreprocess
from visionkit.engine.ensemble import average
from visionkit.errors import CheckpointError
from visionkit.tasks import ClassificationEvaluation, LossOptions, SegmentationEvaluation

NAMES = list(FORMS)


def members():
    """Two networks that see pictures in different sizes, colours and views."""
    other = CropPreprocess(48, 40, [0.5] * 3, [0.5] * 3)
    return [
        small_classification(NAMES, evaluation=ClassificationEvaluation(views="ten", scales=[36])).eval(),
        small_classification(NAMES, small_network(6, "resnet18"), preprocess=other).eval(),
    ]


def test_each_member_prepares_its_own_pictures():
    pictures = [torch.randint(0, 256, (3, *size), dtype=torch.uint8) for size in ((50, 70), (40, 40))]
    both = members()
    with torch.inference_mode():
        expected = (both[0](pictures) + both[1](pictures)) / 2
        torch.testing.assert_close(average(both)(pictures), expected)


def test_the_mean_of_equals_is_what_each_says():
    picture = torch.randint(0, 256, (3, 50, 70), dtype=torch.uint8)
    one = members()[0]
    with torch.inference_mode():
        torch.testing.assert_close(average([one, one, one])([picture]), one([picture]))


def test_networks_of_other_classes_or_tasks_are_refused():
    one = members()[0]
    with pytest.raises(CheckpointError, match=r"checkpoint 3 knows 2 classes \(ant, bee\), the first 6"):
        average([one, one, small_classification(["ant", "bee"])])
    with pytest.raises(CheckpointError, match="same order"):
        average([one, small_classification(NAMES[::-1])])
    with pytest.raises(CheckpointError, match="one class a picture and for several"):
        average([one, small_classification(NAMES, loss=LossOptions(multi_label=True))])
    with pytest.raises(CheckpointError, match="classification, segmentation alone so far"):
        average([small_task(NAMES), small_task(NAMES)])
    with pytest.raises(CheckpointError, match="checkpoints of classification and detection cannot be averaged"):
        average([one, small_task(NAMES)])


def segmenters(**options):
    """Two networks of other widths, one of which halves what it sees."""
    both = [
        small_segmentation(NAMES, SmallSegmenter(6), evaluation=SegmentationEvaluation(flip=True, **options)),
        small_segmentation(NAMES, SmallSegmenter(6, width=8), preprocess=ScalePreprocess(scale=0.5)),
    ]
    return [task.eval() for task in both]


def test_segmenters_are_averaged_pixel_by_pixel():
    pictures, both = torch.randint(0, 256, (2, 3, 20, 31), dtype=torch.uint8), segmenters()
    with torch.inference_mode():
        expected = (both[0].probabilities(pictures, (20, 31)) + both[1].probabilities(pictures, (20, 31))) / 2
        torch.testing.assert_close(average(both).probabilities(pictures, (20, 31)), expected)
        assert torch.equal(average(both)([pictures[1]])[0], expected[1].argmax(0).to(torch.uint8))
        assert not torch.equal(expected.argmax(1), both[0].probabilities(pictures, (20, 31)).argmax(1))


def test_segmenters_share_the_tiles_of_the_first():
    both, seen = segmenters(tile=16, overlap=4), []
    for member in both:
        member.network.register_forward_pre_hook(lambda _, given: seen.append(tuple(given[0].shape[-2:])))
    with torch.inference_mode():
        (labels,) = average(both)([torch.randint(0, 256, (3, 20, 40), dtype=torch.uint8)])
    assert labels.shape == (20, 40)
    assert set(seen) == {(16, 16), (8, 8)}
