"""The keys that a recipe may have: the parameters of the code they go to, read from its source."""

import ast
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from visionkit.cli.config import source
from visionkit.cli.config.catalogue import Entry, registered
from visionkit.cli.config.hints import key_hint
from visionkit.cli.config.layers import KeyPath, Layer
from visionkit.cli.config.source import Definition, Expression, Variable, definition, parameters, takes_any
from visionkit.errors import ConfigError
from visionkit.registry import suggest

SEEDS = 2**32
"""How many seeds numpy takes."""

CONTAINERS = {"list", "tuple", "set", "frozenset", "Sequence", "Iterable", "Collection", "List", "Tuple"}
MAPPINGS = {"dict", "Mapping", "MutableMapping", "Dict"}
UNIONS = {"Union", "Optional"}


@dataclass(frozen=True)
class Section:
    """The keys of a mapping. A list of such mappings, or one alone, has the same section.

    Attributes:
        keys: section of each key; None for a value whose inside is not checked here.
        more: whether it may have further keys.
        inside: section of the values of further keys.
        required: whether the value must be a mapping, or a list of them. It need not where the annotation is a union.
        variant: returns the section of a mapping by its values, for one whose `name` selects the code.
    """

    keys: Mapping[str, "Section | None"] = field(default_factory=dict)
    more: bool = False
    inside: "Section | None" = None
    required: bool = True
    variant: Callable[[Mapping[str, Any]], "Section | None"] | None = None


def check(recipe: Layer) -> None:
    """Refuse unknown keys, at every depth, and unknown names.

    Raises:
        ConfigError: the key, the nearest known one, and where it stands.
    """
    _check_keys(recipe.values, recipe_section(recipe), (), recipe)
    seed = recipe.values.get("seed", 0)
    if type(seed) is not int or not 0 <= seed < SEEDS:
        where = recipe.origin(("seed",))
        raise ConfigError(f"seed is {seed!r}, and must be a whole number from 0 to {SEEDS - 1}\n  {where}")


def recipe_section(recipe: Layer) -> Section:
    """Return the keys of a recipe, given its task, model and data format."""
    task = _entry(recipe, "tasks", "task")
    model = _entry(recipe, "models", "model", "name")
    wanted, named = source.class_constant(model.definition, "task"), recipe.values["task"]
    if wanted != named:
        where = recipe.origin(("model", "name"))
        raise ConfigError(f"the model {model.name!r} is for the task {wanted!r}, not {named!r}\n  {where}")
    model_keys = {**_parameters(model.definition, "num_classes"), "name": None, "backbone": _backbone_section(recipe)}
    return Section(
        {
            "task": None,
            "seed": None,
            "plugins": None,
            "model": Section(model_keys, more=takes_any(model.definition) and model.plugin != ""),
            "data": _data_section(recipe),
            "trainer": Section(_parameters(definition("lightning.pytorch.trainer.trainer", "Trainer"))),
            **_option_groups(task.definition, "proposals"),  # the data's proposals; the task is given the same
            **_option_groups(definition("visionkit.engine.callbacks", "make_callbacks")),
        }
    )


def check_data(recipe: Layer) -> None:
    """Refuse unknown keys and names in the `data` section; the rest of the recipe may be missing (a card alone).

    Raises:
        ConfigError: as for `check`.
    """
    _check_keys(recipe.values.get("data"), _data_section(recipe), ("data",), recipe)


def _data_section(recipe: Layer) -> Section:
    reader = _entry(recipe, "formats", "data", "format")
    splits = Section(more=True, inside=Section(_parameters(reader.definition, "root", "classes")))
    keys = _parameters(definition("visionkit.data.datamodule", "VisionData"), "required")
    return Section({**keys, "splits": splits, "augment": Section(variant=_transform_section)})


def _transform_section(step: Mapping[str, Any]) -> Section | None:
    """Return the keys of a step of `data.augment`: of a registered transform, or one of albumentations.

    None for an unknown name: the list of albumentations' names is only known when it is imported.
    """
    name = str(step.get("name"))
    entry = registered("transforms").get(name)
    albumentations = source.find_module("albumentations")
    found = entry.definition if entry else albumentations and source.member(albumentations, name)
    return Section({**_parameters(found), "name": None}) if isinstance(found, Definition) else None


def _backbone_section(recipe: Layer) -> Section:
    """Return what every backbone takes, and what this one takes besides."""
    family = _entry(recipe, "backbones", "model", "backbone", "name").definition
    common = _parameters(definition("visionkit.backbones.create", "create_backbone"))
    return Section({**_parameters(family), **common}, more=takes_any(family))


def _entry(recipe: Layer, registry: str, *path: str) -> Entry:
    """Return what the name at `path` of the recipe stands for."""
    value: Any = recipe.values
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    key = ".".join(path)
    if not isinstance(value, str):
        raise ConfigError(f"{key} is missing in the recipe: a name of `visionkit list {registry}`")
    entries = registered(registry)
    family = value.partition("/")[0] + "/"
    if value not in entries and not ("/" in value and family in entries):
        raise ConfigError(f"{key}: unknown name {value!r}{suggest(value, entries)}\n  {recipe.origin(path)}")
    return entries.get(value) or entries[family]


def _parameters(found: Definition, *left_out: str) -> dict[str, Section | None]:
    """Return the section behind each parameter."""
    return {name: section_of(kind) for name, kind in parameters(found).items() if name not in left_out}


def _option_groups(found: Definition, *left_out: str) -> dict[str, Section | None]:
    """Return the parameters that are option groups: they are annotated with a dataclass."""
    return {name: section for name, section in _parameters(found, *left_out).items() if section is not None}


def section_of(annotation: Expression, around: tuple[Definition, ...] = ()) -> Section | None:
    """Return the keys of a value that has this type; None if it has none, or they are not known.

    Args:
        annotation: the type.
        around: dataclasses that the annotation is part of; one that contains itself is not followed.
    """
    node, module = annotation.node, annotation.module
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return section_of(Expression(module, ast.parse(node.value, mode="eval").body), around)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return _union([Expression(module, part) for part in (node.left, node.right)], around)
    if isinstance(node, ast.Subscript):
        return _section_of_generic(Expression(module, node.value), node.slice, around)
    meaning = source.resolve(annotation)
    if isinstance(meaning, Variable):
        return section_of(Expression(meaning.module, meaning.value), around)
    if isinstance(meaning, Definition) and source.has_fields(meaning) and meaning not in around:
        keys = {name: section_of(kind, (*around, meaning)) for name, kind in parameters(meaning).items()}
        return Section(keys)
    return None


def _section_of_generic(base: Expression, inside: ast.expr, around: tuple[Definition, ...]) -> Section | None:
    """Return the keys of `base[inside]`."""
    name = source.qualified_name(base).rpartition(".")[2]
    arguments = [Expression(base.module, part) for part in (inside.elts if isinstance(inside, ast.Tuple) else [inside])]
    if name in UNIONS:
        return _union(arguments, around)
    if name in MAPPINGS:
        section = section_of(arguments[-1], around)
        return None if section is None else Section(more=True, inside=section)
    if name in CONTAINERS or name == "Annotated":
        return section_of(arguments[0], around)
    return None


def _union(parts: Iterable[Expression], around: tuple[Definition, ...]) -> Section | None:
    """Return the keys of all parts together."""
    parts = [part for part in parts if not (isinstance(part.node, ast.Constant) and part.node.value is None)]
    sections = [section_of(part, around) for part in parts]
    groups = [section for section in sections if section is not None]
    if not groups:
        return None
    keys = {name: inside for section in groups for name, inside in section.keys.items()}
    more = next((section for section in groups if section.more), Section())
    required = len(groups) == len(sections) and all(section.required for section in groups)
    return Section(keys, more.more, more.inside, required)


def _check_keys(values: Any, section: Section | None, path: KeyPath, recipe: Layer) -> None:
    if section is None or values is None:
        return
    if isinstance(values, list):
        for index, value in enumerate(values):
            _check_keys(value, section, (*path, str(index)), recipe)
        return
    if not isinstance(values, dict):
        if section.required:
            raise ConfigError(_must_hold_keys(values, section, path, recipe))
        return
    if section.variant is not None:
        _check_keys(values, section.variant(values), path, recipe)
        return
    for key, value in values.items():
        if key not in section.keys and not section.more:
            full = ".".join((*path, key))
            hint = key_hint(full)
            nearest = f"\n{hint}" if hint else suggest(key, section.keys)
            raise ConfigError(f"unknown key {full}{nearest}\n  {recipe.origin((*path, key))}")
        _check_keys(value, section.keys.get(key, section.inside), (*path, key), recipe)


def _must_hold_keys(value: Any, section: Section, path: KeyPath, recipe: Layer) -> str:
    names = ", ".join(sorted(section.keys)[:6])
    keys = f"keys ({names}, ...)" if names else "keys"
    return f"{'.'.join(path)} must hold {keys}, not {value!r}\n  {recipe.origin(path)}"
