"""The values of recipe keys that a sweep tries, as `--vary` gives them. This module does not import torch."""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import yaml

from visionkit.cli.config.merge import override_layer
from visionkit.errors import ConfigError
from visionkit.limited_yaml import parse_yaml

RANGE = re.compile(r"(log|uniform|int):([^:]+):([^:]+)")

DIGITS = 3
"""Significant digits of the numbers that are drawn from a range."""

FORMS = "give KEY=a,b,c or KEY=log:1e-4:1e-2, KEY=uniform:0.1:0.9, KEY=int:1:4"

FIXED = (
    "evaluation",
    "task",
    "data.format",
    "data.root",
    "data.splits",
    "data.cards",
    "data.holdout",
    "data.exclude",
    "trainer.limit_val_batches",
    "trainer.overfit_batches",
)
"""Keys that change what is scored, so that the metrics of trials with other values cannot be compared."""

LENGTHS = ("trainer.max_epochs", "trainer.max_steps", "trainer.max_time", "trainer.fast_dev_run")
"""Keys that change how long a trial is."""


@dataclass(frozen=True)
class Choices:
    """Values of a key of which each trial has one, as words of overrides."""

    key: str
    values: tuple[str, ...]

    @property
    def examples(self) -> tuple[str, ...]:
        """Values that are checked before the sweep."""
        return self.values

    def text(self, drawn: Any) -> str:
        """Return the value of an override for a drawn value."""
        return str(drawn)

    def contains(self, value: Any) -> bool:
        """Return whether a value of a recipe is one of them."""
        return _word(value) in self.values

    def drawn(self, value: Any) -> Any:
        """Return a value of a recipe as a sampler draws it."""
        return _word(value)


@dataclass(frozen=True)
class Range:
    """Numbers of a key from `low` to `high`: whole ones, or drawn uniformly or log-uniformly."""

    key: str
    kind: Literal["log", "uniform", "int"]
    low: float
    high: float

    @property
    def examples(self) -> tuple[str, ...]:
        """Values that are checked before the sweep."""
        return self.text(self.low), self.text(self.high)

    def text(self, drawn: Any) -> str:
        """Return the value of an override for a drawn value, with `DIGITS` digits."""
        if self.kind == "int":
            return str(int(drawn))
        rounded = float(f"{drawn:.{DIGITS}g}")
        return json.dumps(min(max(rounded, self.low), self.high))

    def contains(self, value: Any) -> bool:
        """Return whether a value of a recipe is in the range."""
        return isinstance(value, int | float) and not isinstance(value, bool) and self.low <= value <= self.high

    def drawn(self, value: Any) -> Any:
        """Return a value of a recipe as a sampler draws it."""
        return int(value) if self.kind == "int" else float(value)


Dimension = Choices | Range

_MISSING = object()


def parse_space(given: Sequence[str]) -> list[Dimension]:
    """Return the keys and values of `--vary` options.

    Raises:
        ConfigError: an option has another form, a key is given twice, or a key must be the same in all trials.
    """
    space = [_parse(word) for word in given]
    keys = [dimension.key for dimension in space]
    for key in keys:
        if keys.count(key) > 1:
            raise ConfigError(f"--vary {key} is given twice: give all its values in one")
        if any(key == fixed or key.startswith(f"{fixed}.") for fixed in FIXED):
            raise ConfigError(f"--vary {key}: it changes what is scored, so metrics could not be compared")
        if key in LENGTHS:
            raise ConfigError(f"--vary {key}: all trials have the same budget, --minutes or --epochs")
        kept = next((kept for kept in (*FIXED, *LENGTHS) if kept.startswith(f"{key}.")), None)
        if kept is not None:
            raise ConfigError(f"--vary {key}: {kept} in it must be the same in all trials: vary single keys of {key}")
    return space


def _parse(word: str) -> Dimension:
    key, is_given, spec = word.partition("=")
    if not is_given or not key or not spec:
        raise ConfigError(f"--vary {word!r}: {FORMS}")
    override_layer(f"{key}=0")  # an error if the key has no form of a key
    found = RANGE.fullmatch(spec)
    return _choices(key, spec) if found is None else _range(key, spec, *found.groups())


def _choices(key: str, spec: str) -> Choices:
    """Return the values of a list without brackets, in YAML."""
    try:
        parsed, _ = parse_yaml(f"values: [{spec}]")
    except yaml.YAMLError as error:
        raise ConfigError(f"--vary {key}={spec}: the values are no YAML\n{FORMS}") from error
    values = tuple(dict.fromkeys(map(_word, parsed["values"])))
    if len(values) < 2:
        raise ConfigError(f"--vary {key}={spec} has one value: give several, or the override {key}={spec}")
    return Choices(key, values)


def _word(value: Any) -> str:
    """Return a value as an override has it: JSON, without quotes around a string that needs none."""
    if isinstance(value, str) and _is_plain(value):
        return value
    return json.dumps(value)


def _is_plain(text: str) -> bool:
    try:
        return bool(override_layer(f"key={text}").values["key"] == text)
    except ConfigError:
        return False


def _range(key: str, spec: str, kind: Any, low: str, high: str) -> Range:
    convert = int if kind == "int" else float
    try:
        ends = convert(low), convert(high)
    except ValueError as error:
        noun = "whole numbers" if kind == "int" else "numbers"
        raise ConfigError(f"--vary {key}={spec}: the ends of the range must be {noun}") from error
    if not (all(map(math.isfinite, ends)) and ends[0] < ends[1]):
        raise ConfigError(f"--vary {key}={spec}: the range must rise from its first number to its second")
    if kind == "log" and ends[0] <= 0:
        raise ConfigError(f"--vary {key}={spec}: a logarithmic range must be above 0")
    return Range(key, kind, *ends)


def overrides(space: Sequence[Dimension], drawn: dict[str, Any]) -> list[str]:
    """Return the override words of drawn values by key."""
    return [f"{dimension.key}={dimension.text(drawn[dimension.key])}" for dimension in space]


def recipe_values(space: Sequence[Dimension], recipe: dict[str, Any]) -> dict[str, Any] | None:
    """Return the values of a recipe as a sampler draws them; None if one is not in the recipe, or not in the space."""
    drawn = {}
    for dimension in space:
        value = _value_at(recipe, dimension.key)
        if isinstance(value, dict) and "name" in value and not dimension.contains(value):
            value = value["name"]  # `model.backbone: resnet50` is short for its name
        if value is _MISSING or not dimension.contains(value):
            return None
        drawn[dimension.key] = dimension.drawn(value)
    return drawn


def _value_at(values: Any, key: str) -> Any:
    """Return the value of a key, which can be None; `_MISSING` if the recipe does not have the key."""
    for part in key.split("."):
        if isinstance(values, list) and part.isdecimal() and int(part) < len(values):
            values = values[int(part)]
        else:
            values = values.get(part, _MISSING) if isinstance(values, dict) else _MISSING
    return values
