import pytest
import torch

from tests.tasks.small import small_task
from tests.tasks.small_classifier import small_classification, small_network
from visionkit.data.crop import CropPreprocess
from visionkit.data.formats.shapes import FORMS
from visionkit.engine.ensemble import average
from visionkit.errors import CheckpointError
from visionkit.tasks import ClassificationEvaluation, LossOptions

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
    with pytest.raises(CheckpointError, match="classification alone so far"):
        average([small_task(NAMES), small_task(NAMES)])
    with pytest.raises(CheckpointError, match="checkpoints of classification and detection cannot be averaged"):
        average([one, small_task(NAMES)])
