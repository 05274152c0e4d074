"""The section `logger` of a recipe: a name, a list of names, or options by name."""

from typing import Any

from visionkit.cli.config.merge import WrongValueError
from visionkit.cli.config.typed_options import instantiate
from visionkit.engine.logger_options import LoggerOptions, loggers
from visionkit.errors import ConfigError

ALWAYS = "csv"
"""Name of the logger that every run has."""


def chosen_loggers(section: Any) -> dict[str, LoggerOptions] | None:
    """Return the options of the loggers by their names; None if the recipe does not name any.

    Args:
        section: "wandb", ["tensorboard", "wandb"], or {"wandb": {"project": "cells"}, "tensorboard": None}.

    Raises:
        WrongValueError: a name is unknown, or an option is wrong.
    """
    if section is None:
        return None
    names = section if isinstance(section, list | dict) else [section]
    given = section if isinstance(section, dict) else {}
    return {name: instantiate(_named(name), given.get(name), f"logger.{name}") for name in names if name != ALWAYS}


def refuse_trainer_logger(trainer: dict[str, Any] | None) -> None:
    """Raise WrongValueError if the trainer of a recipe has loggers, or none: metrics.csv would not be written."""
    if (trainer or {}).get("logger") is not None:
        raise WrongValueError(
            "trainer.logger would replace metrics.csv\n"
            "leave it out: the section logger names further loggers, and logger=csv writes metrics.csv alone",
            ("trainer", "logger"),
        )


def _named(name: Any) -> type[LoggerOptions]:
    try:
        return loggers.get(str(name))
    except ConfigError as error:
        raise WrongValueError(f"logger: {error}", ("logger",)) from error
