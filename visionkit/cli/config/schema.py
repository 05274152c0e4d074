"""Which keys a recipe may have: the parameters of the code they go to, read from its source."""

import ast
import importlib.util
from pathlib import Path
from typing import Any

from visionkit.cli.config.catalogue import (
    PACKAGE,
    Entry,
    class_constant,
    definition,
    options_class,
    parameters,
    registered,
    takes_any,
)
from visionkit.cli.config.layers import KeyPath, Layer
from visionkit.errors import ConfigError
from visionkit.registry import suggest

Schema = dict[str, Any]
"""Nested allowed keys; None stands for a value whose inside is not known here, `ANY` as a key for any name."""

ANY = "*"

SEEDS = 2**32
"""How many seeds numpy takes."""


def check(recipe: Layer) -> None:
    """Refuse keys and names that nobody knows.

    Raises:
        ConfigError: the key, the nearest known one, and where it stands.
    """
    _check_keys(recipe.values, recipe_schema(recipe), (), recipe)
    seed = recipe.values.get("seed", 0)
    if type(seed) is not int or not 0 <= seed < SEEDS:
        where = recipe.origin(("seed",))
        raise ConfigError(f"seed is {seed!r}, and must be a whole number from 0 to {SEEDS - 1}\n  {where}")


def recipe_schema(recipe: Layer) -> Schema:
    """The allowed keys of a recipe, given its task, model and data format."""
    task = _entry(recipe, "tasks", "task")
    model = _entry(recipe, "models", "model", "name")
    wanted, named = class_constant(model.node, "task"), recipe.values["task"]
    if wanted != named:
        where = recipe.origin(("model", "name"))
        raise ConfigError(f"the model {model.name!r} is for the task {wanted!r}, not {named!r}\n  {where}")
    return {
        "task": None,
        "seed": None,
        "model": {"name": None, **_section(model.node, "num_classes"), "backbone": _backbone_schema(recipe)},
        "data": _data_schema(recipe),
        "trainer": _section(definition(_lightning_trainer(), "Trainer")),
        **{key: keys for key, keys in _nested(task.node).items() if key != "proposals"},  # they belong to data
        **_nested(definition(PACKAGE / "engine" / "callbacks.py", "make_callbacks")),
    }


def check_data(recipe: Layer) -> None:
    """Refuse keys and names in the `data` section that nobody knows; the rest may be missing (a card alone).

    Raises:
        ConfigError: as for `check`.
    """
    _check_keys(recipe.values.get("data"), _data_schema(recipe), ("data",), recipe)


def _data_schema(recipe: Layer) -> Schema:
    reader = _entry(recipe, "formats", "data", "format")
    module = definition(PACKAGE / "data" / "datamodule.py", "VisionData")
    return {**_section(module, "required"), "splits": {ANY: _section(reader.node, "root", "classes")}}


def _backbone_schema(recipe: Layer) -> Schema:
    """What every backbone takes, and what this one takes besides."""
    family = _entry(recipe, "backbones", "model", "backbone", "name").node
    common = _section(definition(PACKAGE / "backbones" / "create.py", "create_backbone"))
    return {**common, **_section(family), **({ANY: None} if takes_any(family) else {})}


def _entry(recipe: Layer, registry: str, *path: str) -> Entry:
    """What the name at `path` of the recipe stands for."""
    value: Any = recipe.values
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    key = ".".join(path)
    if not isinstance(value, str):
        raise ConfigError(f"the recipe does not say {key}")
    known = registered(registry)
    family = value.split("/")[0] + "/"
    if value not in known and family not in known:
        raise ConfigError(f"{key}: unknown name {value!r}{suggest(value, known)}\n  {recipe.origin(path)}")
    return known.get(value) or known[family]


def _section(node: ast.ClassDef | ast.FunctionDef, *left_out: str) -> Schema:
    return {key: None for key in parameters(node) if key not in left_out}


def _nested(node: ast.ClassDef | ast.FunctionDef) -> Schema:
    """A section for each parameter that is annotated with one of visionkit's options classes."""
    return {
        key: _section(options)
        for key, annotation in parameters(node).items()
        if (options := _options_class(annotation)) is not None
    }


def _options_class(annotation: ast.expr | None) -> ast.ClassDef | None:
    names = [part.id for part in ast.walk(annotation) if isinstance(part, ast.Name)] if annotation else []
    return next((node for name in names if (node := options_class(name)) is not None), None)


def _lightning_trainer() -> Path:
    """Source of Lightning's Trainer; finding the top package does not import it."""
    found = importlib.util.find_spec("lightning")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "pytorch" / "trainer" / "trainer.py"


def _check_keys(values: Any, schema: Schema | None, path: KeyPath, recipe: Layer) -> None:
    if schema is None or values is None:
        return
    if isinstance(values, list):
        for index, value in enumerate(values):
            _check_keys(value, schema, (*path, str(index)), recipe)
        return
    if not isinstance(values, dict):
        inside = ", ".join(key for key in sorted(schema)[:6] if key != ANY)
        keys = f"keys ({inside}, ...)" if inside else "keys"
        raise ConfigError(f"{'.'.join(path)} must hold {keys}, not {values!r}\n  {recipe.origin(path)}")
    for key, value in values.items():
        if key not in schema and ANY not in schema:
            full = ".".join((*path, key))
            raise ConfigError(f"unknown key {full}{suggest(key, schema)}\n  {recipe.origin((*path, key))}")
        _check_keys(value, schema.get(key, schema.get(ANY)), (*path, key), recipe)
