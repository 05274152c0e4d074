"""The section `logger` of a recipe: a name, a list of names, or options by name."""

import dataclasses
from typing import Any

from visionkit.cli.config.merge import WrongValueError
from visionkit.cli.config.typed_options import instantiate
from visionkit.engine.loggers import LoggerOptions
from visionkit.registry import suggest

ALWAYS = "csv"
"""Name of the logger that every run has."""


def logger_options(section: Any) -> LoggerOptions | None:
    """Return the options of the loggers; None if the recipe does not name any.

    Args:
        section: "wandb", ["tensorboard", "wandb"], or {"wandb": {"project": "cells"}, "tensorboard": None}.

    Raises:
        WrongValueError: a name is unknown, or an option is wrong.
    """
    if section is None:
        return None
    if isinstance(section, dict):
        values = {name: {} if options is None else options for name, options in section.items()}
    else:
        names = section if isinstance(section, list) else [section]
        values = {name: {} for name in map(_known_name, names) if name != ALWAYS}
    values.pop(ALWAYS, None)
    options: LoggerOptions = instantiate(LoggerOptions, values, "logger")
    return options


def refuse_trainer_logger(trainer: dict[str, Any] | None) -> None:
    """Raise WrongValueError if the trainer of a recipe has loggers, or none: metrics.csv would not be written."""
    if (trainer or {}).get("logger") is not None:
        raise WrongValueError(
            "trainer.logger would replace metrics.csv\n"
            "leave it out: the section logger names further loggers, and logger=csv writes metrics.csv alone",
            ("trainer", "logger"),
        )


def _known_name(name: Any) -> str:
    names = [field.name for field in dataclasses.fields(LoggerOptions)]
    if name not in (*names, ALWAYS):
        raise WrongValueError(f"logger: unknown name {name!r}{suggest(str(name), [ALWAYS, *names])}", ("logger",))
    return str(name)
