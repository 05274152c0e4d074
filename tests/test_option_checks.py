import dataclasses
import inspect

import pytest

import visionkit as vk
from visionkit import option_checks
from visionkit.data.proposals.proposal_source import ProposalOptions
from visionkit.errors import ConfigError
from visionkit.models import models
from visionkit.option_checks import (
    check_above,
    check_above_up_to,
    check_at_least,
    check_below,
    check_between,
    check_channels,
    check_names,
    check_not_empty,
    check_numbers,
    check_rising,
    check_within,
)
from visionkit.tasks import tasks

GIVEN = {vk.UnfreezeStep: {"epoch": 0, "frozen_stages": 0}}


def option_classes():
    """Return every dataclass whose numbers come from a recipe."""
    classes = {vk.EMAOptions, vk.EarlyStoppingOptions, vk.UnfreezeStep, vk.HoldoutOptions, ProposalOptions}
    for name in tasks:
        classes |= set(tasks.get(name).sections().values())
    for name in models:
        defaults = [p.default for p in inspect.signature(models.get(name)).parameters.values()]
        classes |= {type(default) for default in defaults if dataclasses.is_dataclass(default)}
    return sorted(classes, key=lambda kind: kind.__name__)


def numbers(kind):
    """Return the names of the fields that are numbers or lists of numbers, with a function that makes their value."""
    for field in dataclasses.fields(kind):
        annotation = str(field.type)
        if "dict" in annotation:
            yield field.name, lambda x: {"head": x}
        elif "float" in annotation or "int" in annotation:
            plain = "list" not in annotation and "tuple" not in annotation
            nested = annotation.count("tuple[") > 1
            yield field.name, (lambda x: x) if plain else (lambda x: ((x,),)) if nested else (lambda x: [x] * 3)


CASES = [(kind, name, make) for kind in option_classes() for name, make in numbers(kind)]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1e9, -1])
@pytest.mark.parametrize(("kind", "name", "make"), CASES, ids=[f"{kind.__name__}.{name}" for kind, name, _ in CASES])
def test_no_option_takes_nan_infinity_or_a_negative_number(kind, name, make, value):
    if name == "mean" and value in (-1, -1e9):
        pytest.skip("a mean may be any finite number")
    with pytest.raises(ConfigError, match=name):
        kind(**{**GIVEN.get(kind, {}), name: make(value)})


@pytest.mark.parametrize(
    "options",
    [
        lambda: vk.OptimizerOptions(momentum=2),
        lambda: vk.OptimizerOptions(lr=0),
        lambda: vk.OptimizerOptions(base_batch_size=0),
        lambda: vk.OptimizerOptions(nesterov=True, momentum=0),
        lambda: vk.ScheduleOptions(warmup_factor=5),
        lambda: vk.ScheduleOptions(final_factor=2),
        lambda: vk.ScheduleOptions(name="plateau", gamma=1.0),
        lambda: vk.ScheduleOptions(name="plateau", warmup_factor=0),
        lambda: vk.EMAOptions(decay=1.0),
        lambda: vk.HoldoutOptions(fraction=1.0),
        lambda: vk.ClassificationPreprocessOptions(mean=[1.0]),
        lambda: vk.DetectionPreprocessOptions(std=[1.0, 1.0, 0.0]),
        lambda: vk.SegmentationPreprocessOptions(short_side=0),
        lambda: vk.OptimizerOptions(lr="0.1"),
        lambda: vk.VisionData("shapes", batch_size=0),
        lambda: vk.VisionData("shapes", num_workers=10**6),
        lambda: vk.VisionData("shapes", min_visibility=2),
    ],
)
def test_values_out_of_range_are_refused(options):
    with pytest.raises(ConfigError, match=r"^\w+=.* must "):
        options()


def test_values_in_range_pass():
    check_at_least(1, batch_size=1, top_n=9, missing=None)
    check_above(0, lr=0.1, scales=[0.5, 1.0])
    check_within(0, 1, nms_iou=0.0, positive_fraction=1.0)
    check_below(0, 1, momentum=0)
    check_above_up_to(0, 1, factor=1)
    check_between(0, 1, fraction=0.5)
    check_numbers(0, channels=(1, 2), name="x", flag=True, options={"a": -1})
    check_not_empty(scales=[1])
    check_channels(mean=None, std=(0.1, 0.2, 0.3))
    check_rising(bg_iou=0.0, fg_iou=0.0)
    check_rising(bg_iou=0.3, fg_iou=1.0)
    check_at_least(0, weights={"objects": 0, "tags": 0.5})
    check_names("head", ["objects", "tags-2"])


@pytest.mark.parametrize(
    ("check", "values", "message"),
    [
        (lambda **v: check_at_least(1, **v), {"top_n": 3, "batch_size": 0}, "batch_size=0 must be at least 1"),
        (lambda **v: check_above(0, **v), {"lr": -1}, "lr=-1 must be above 0"),
        (lambda **v: check_above(0, **v), {"lr": "much"}, "lr='much' must be a number"),
        (lambda **v: check_above(0, **v), {"scales": (1.0, 0.0)}, "scales=[1.0, 0.0] must be above 0"),
        (lambda **v: check_within(0, 1, **v), {"iou": 1.1}, "iou=1.1 must be within 0..1"),
        (lambda **v: check_within(0, 1, **v), {"iou": float("nan")}, "iou=nan must be finite"),
        (lambda **v: check_below(0, 1, **v), {"decay": 1}, "decay=1 must be at least 0 and below 1"),
        (lambda **v: check_above_up_to(0, 1, **v), {"share": 0}, "share=0 must be above 0 and at most 1"),
        (lambda **v: check_between(0, 1, **v), {"share": 1}, "share=1 must be above 0 and below 1"),
        (lambda **v: check_numbers(0, **v), {"channels": (3, -1)}, "channels=[3, -1] must be at least 0"),
        (lambda **v: check_at_least(0, **v), {"weights": {"a": -1}}, "weights={'a': -1} must be at least 0"),
        (
            lambda **v: check_names("head", v["names"]),
            {"names": ["a.b"]},
            "'a.b' cannot be the name of a head: use letters, digits, _ and -",
        ),
        (check_not_empty, {"terms": []}, "terms=[] must not be empty"),
        (check_channels, {"mean": [1.0]}, "mean=[1.0] must be three numbers: red, green, blue"),
        (
            check_rising,
            {"bg_iou": 0.5, "fg_iou": 0.4},
            "bg_iou=0.5, fg_iou=0.4 must satisfy 0 <= bg_iou <= fg_iou <= 1",
        ),
        (check_rising, {"fg_iou": 1.5}, "fg_iou=1.5 must satisfy 0 <= fg_iou <= 1"),
    ],
)
def test_the_message_has_option_value_and_range(check, values, message):
    with pytest.raises(ConfigError) as error:
        check(**values)
    assert str(error.value) == message


def test_no_model_takes_a_negative_number():
    backbone = vk.create_backbone("resnet18", weights="none")
    with pytest.raises(ConfigError, match="head_channels=-4 must be at least 0"):
        vk.create_model("faster_rcnn", backbone, num_classes=2, head_channels=-4)
    with pytest.raises(ConfigError, match="width=-1 must be at least 0"):
        vk.create_backbone("unet", weights="none", width=-1)


def test_every_check_is_tested():
    assert {name for name in dir(option_checks) if name.startswith("check_")} <= set(globals())
