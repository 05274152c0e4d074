"""Reading YAML files of data formats."""

from pathlib import Path
from typing import Any

import yaml

from visionkit.data.io.paths import read_text
from visionkit.errors import DataError
from visionkit.limited_yaml import parse_yaml, yaml_problem


def read_yaml_mapping(path: Path) -> dict[str, Any]:
    """Return the keys and values of a YAML file in UTF-8, with the limits of `limited_yaml`.

    Raises:
        DataError: the file does not exist, is not a regular file, or is not a mapping in YAML.
    """
    try:
        values, _ = parse_yaml(read_text(path))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise DataError(f"{path}{f':{mark.line + 1}' if mark else ''}: {yaml_problem(error)}") from error
    if not isinstance(values, dict):
        raise DataError(f"{path} must hold `key: value` lines")
    return values
