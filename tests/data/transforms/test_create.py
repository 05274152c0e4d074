import pytest

from tests.helpers.samples import AXES, gray, sample
from visionkit.data.transforms.augmentation import Augmentation
from visionkit.data.transforms.create import create_transform
from visionkit.errors import ConfigError
from visionkit.structures import Annotation


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"name": "ScaleJiter"}, "did you mean ScaleJitter"),
        ({"name": "PcaColurShift"}, "did you mean PcaColorShift"),
        ({"name": "ScaleJitter", "min_side": 9, "max_side": 8}, "min_side=9 must be at least 1 and at most max_side=8"),
        ({"name": "ScaleJitter", "min_side": "tall"}, "min_side: Input should be a valid integer"),
        ({"name": "PcaColorShift", "eigenvalues": [1, 2, 3]}, "three lists of three"),
        ({"name": "PcaColorShift", **AXES, "eigenvalues": [1, -2, 3]}, "at least 0"),
        (
            {"name": "PcaColorShift", "statistics": "imagenet", **AXES},
            "give either statistics, or eigenvalues and eigenvectors",
        ),
        (
            {"name": "PcaColorShift", "statistics": "cifar"},
            "does not accept the arguments .*statistics: Input should be 'imagenet'",
        ),
        ({"name": "PcaColorShift", "p": 2}, "does not accept the arguments .*p: "),
        ({"name": "Compose"}, "unknown transform"),
        ({}, "unknown transform None"),
    ],
)
def test_mistakes_are_named(step, message):
    with pytest.raises(ConfigError, match=message) as raised:
        create_transform(step)
    assert len(str(raised.value).splitlines()) <= 5


CLASSIC = [
    {"name": "RandomResizedCrop", "size": [24, 24], "scale": [0.08, 1.0]},
    {"name": "Rotate", "limit": 15},
    {"name": "GaussianBlur", "blur_limit": 3},
    {"name": "ColorJitter", "brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1},
    {"name": "CoarseDropout", "num_holes_range": [1, 1], "hole_height_range": [8, 8], "hole_width_range": [8, 8]},
]


@pytest.mark.parametrize("step", CLASSIC, ids=lambda step: step["name"])
@pytest.mark.parametrize("given", [gray(), sample(3), sample(0)], ids=["plain", "objects", "empty"])
def test_the_classic_steps_of_classification_run(step, given):
    result = Augmentation([{**step, "p": 1.0}])(given)
    assert result.size == ((24, 24) if step["name"] == "RandomResizedCrop" else given.size)
    assert isinstance(result.annotation, Annotation)
    assert result.image.flags.c_contiguous
