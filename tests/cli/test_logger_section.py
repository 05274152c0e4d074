import pytest

from visionkit.cli.config.merge import WrongValueError
from visionkit.cli.logger_section import logger_options
from visionkit.engine.loggers import LoggerOptions, MLflowOptions, TensorBoardOptions, WandbOptions


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        (None, None),
        ("wandb", LoggerOptions(wandb=WandbOptions())),
        ("csv", LoggerOptions()),
        (["csv", "tensorboard", "mlflow"], LoggerOptions(TensorBoardOptions(), mlflow=MLflowOptions())),
        ({"wandb": {"project": "cells", "offline": True}}, LoggerOptions(wandb=WandbOptions("cells", offline=True))),
        ({"tensorboard": None}, LoggerOptions(TensorBoardOptions())),
    ],
)
def test_names_lists_and_options(section, expected):
    assert logger_options(section) == expected


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("wanb", "unknown name 'wanb'; did you mean wandb"),
        (["csv", 3], "unknown name 3"),
        ({"wandb": {"offline": "maybe"}}, "logger.wandb"),
        ({"wandb": 3}, "logger"),
    ],
)
def test_mistakes_are_named(section, message):
    with pytest.raises(WrongValueError, match=message):
        logger_options(section)
