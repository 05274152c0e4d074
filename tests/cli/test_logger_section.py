import pytest

from visionkit.cli.config.merge import WrongValueError
from visionkit.cli.logger_section import chosen_loggers
from visionkit.engine.logger_options import MLflowOptions, TensorBoardOptions, WandbOptions


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        (None, None),
        ("wandb", {"wandb": WandbOptions()}),
        ("csv", {}),
        (["csv", "tensorboard", "mlflow"], {"tensorboard": TensorBoardOptions(), "mlflow": MLflowOptions()}),
        ({"wandb": {"project": "cells", "offline": True}}, {"wandb": WandbOptions("cells", offline=True)}),
        ({"tensorboard": None}, {"tensorboard": TensorBoardOptions()}),
    ],
)
def test_names_lists_and_options(section, expected):
    assert chosen_loggers(section) == expected


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("wanb", "unknown logger 'wanb'; did you mean wandb"),
        (["csv", 3], "unknown logger '3'"),
        ({"wandb": {"offline": "maybe"}}, "logger.wandb.offline"),
        ({"wandb": 3}, "logger.wandb must hold keys, not 3"),
    ],
)
def test_mistakes_are_named(section, message):
    with pytest.raises(WrongValueError, match=message):
        chosen_loggers(section)
