"""Valid keys of a recipe: the parameters of the code that receives them, read from its source."""

import ast
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from visionkit.cli.config import python_source
from visionkit.cli.config.catalog import Entry, registered
from visionkit.cli.config.hints import key_hint
from visionkit.cli.config.merge import Layer
from visionkit.cli.config.multi_cards import (
    OF_AUGMENTATION,
    OF_SOURCE,
    cards_of,
    heads_of,
    is_multi,
    refuse_multi,
    task_of_head,
)
from visionkit.cli.config.python_source import Definition, Expression, Variable, definition, parameters, takes_any
from visionkit.errors import ConfigError
from visionkit.limited_yaml import KeyPath
from visionkit.registry import suggest

SEEDS = 2**32
"""Number of seeds that NumPy accepts."""

NEEDED = ("data", "trainer")
"""Keys that must not be null. Other sections may be null, which switches them off or leaves their defaults."""

CONTAINERS = {"list", "tuple", "set", "frozenset", "Sequence", "Iterable", "Collection", "List", "Tuple"}
MAPPINGS = {"dict", "Mapping", "MutableMapping", "Dict"}
UNIONS = {"Union", "Optional"}


@dataclass(frozen=True)
class Section:
    """Valid keys of a mapping, or of each mapping of a list.

    Attributes:
        keys: section of each key; None for a value whose content is not checked here.
        more: whether further keys are allowed.
        inside: section of the values of further keys.
        required: whether the value must be a mapping or a list of mappings. It is false for union annotations.
        many: whether the value may be a list of mappings.
        variant: returns the section for the values of a mapping whose `name` selects the code.
    """

    keys: Mapping[str, "Section | None"] = field(default_factory=dict)
    more: bool = False
    inside: "Section | None" = None
    required: bool = True
    many: bool = False
    variant: Callable[[Mapping[str, Any]], "Section | None"] | None = None


def check(recipe: Layer) -> None:
    """Check a recipe for unknown names, and for unknown keys at every depth.

    Raises:
        ConfigError: a key or name is unknown. The message has its origin and the nearest known key or name.
    """
    check_finite(recipe)
    for key in NEEDED:
        if key in recipe.values and recipe.values[key] is None:
            raise ConfigError(f"{key} must hold keys, not null\n  {recipe.origin((key,))}")
    _check_keys(recipe.values, recipe_section(recipe), (), recipe)
    seed = recipe.values.get("seed", 0)
    if type(seed) is not int or not 0 <= seed < SEEDS:
        where = recipe.origin(("seed",))
        raise ConfigError(f"seed is {seed!r}, and must be a whole number from 0 to {SEEDS - 1}\n  {where}")


def check_finite(recipe: Layer) -> None:
    """Check that no number of a recipe is NaN or infinite.

    Raises:
        ConfigError: one is. The message has its key and origin.
    """
    for path, value in _scalars(recipe.values, ()):
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"{'.'.join(path)}={value} must be finite\n  {recipe.origin(path)}")


def _scalars(values: Any, path: KeyPath) -> Iterator[tuple[KeyPath, Any]]:
    """Yield path and value of everything in nested mappings and lists that is neither."""
    if isinstance(values, dict | list):
        for key, value in values.items() if isinstance(values, dict) else enumerate(values):
            yield from _scalars(value, (*path, str(key)))
    else:
        yield path, values


def recipe_section(recipe: Layer) -> Section:
    """Return the valid keys of a recipe for its task, model and data format."""
    task = _entry(recipe, "tasks", "task")
    model = _entry(recipe, "models", "model", "name")
    wanted, named = python_source.class_constant(model.definition, "task"), recipe.values["task"]
    if wanted != named:
        where = recipe.origin(("model", "name"))
        raise ConfigError(f"the model {model.name!r} is for the task {wanted!r}, not {named!r}\n  {where}")
    own: dict[str, Section | None]
    if is_multi(recipe):
        own = _multi_sections(recipe)
    else:
        own = {"model": _model_section(model, _backbone_section(recipe)), "data": _data_section(recipe)}
    return Section(
        {
            "task": None,
            "seed": None,
            "plugins": None,
            **own,
            "logger": _logger_section(),
            "trainer": Section(_parameters(definition("lightning.pytorch.trainer.trainer", "Trainer"))),
            **_option_groups(task.definition, "proposals"),  # options of the data, which the task also gets
            **_option_groups(definition("visionkit.engine.callbacks", "make_callbacks")),
        }
    )


def _logger_section() -> Section:
    """Return the valid keys of the loggers. A name, or a list of names, may take the place of the mapping."""
    loggers = {name: Section(_parameters(entry.definition)) for name, entry in registered("loggers").items()}
    return Section({**loggers, "csv": None}, required=False)


def _model_section(model: Entry, backbone: Section | None) -> Section:
    """Return the valid keys of a model. A head has no backbone of its own."""
    keys = {**_parameters(model.definition, "num_classes"), "name": None, "backbone": backbone}
    return Section(keys, more=takes_any(model.definition) and model.plugin != "")


def _multi_sections(recipe: Layer) -> dict[str, Section | None]:
    """Return the valid keys of the model, the heads and the data of a recipe for several heads."""
    models, options = {}, {}
    for head in heads_of(recipe):
        model = _entry(recipe, "models", "model", "heads", head, "name")
        section = _model_section(model, None)
        models[head] = replace(section, keys={**section.keys, "out_stages": None, "weights": None})
        task = registered("tasks")[task_of_head(recipe, head) or ""]
        options[head] = Section(_option_groups(task.definition, "proposals", "optimizer", "schedule"))
    model = _entry(recipe, "models", "model", "name")
    keys = {**_parameters(model.definition, "num_classes"), "name": None, "backbone": _backbone_section(recipe)}
    cards = {name: _card_section(recipe, name) for name in cards_of(recipe)}
    loader = _parameters(definition("visionkit.data.multi.multi_data", "MultiData"), "sources", "kinds")
    common = {name: AUGMENTATION[name] for name in ("augment", "min_visibility")}
    return {
        "model": Section({**keys, "heads": Section(models)}),
        "heads": Section(options),
        "data": Section({**loader, **common, "cards": Section(cards)}),
    }


def _card_section(recipe: Layer, name: str) -> Section:
    """Return the valid keys of a card of a recipe for several heads: those of its images, and its heads."""
    keys = _data_section(recipe, "data", "cards", name).keys
    return Section({**{key: keys[key] for key in (*OF_SOURCE, *OF_AUGMENTATION)}, "heads": None})


def check_data(recipe: Layer) -> None:
    """Check the `data` section for unknown keys and names. Other sections may be missing, as in a data card.

    Raises:
        ConfigError: see `check`; or the recipe is one of several heads.
    """
    refuse_multi(recipe)
    check_finite(recipe)
    _check_keys(recipe.values.get("data"), _data_section(recipe), ("data",), recipe)


def _data_section(recipe: Layer, *path: str) -> Section:
    """Return the valid keys of the data at `path`, by default those of `data`."""
    dataset = _entry(recipe, "formats", *(path or ("data",)), "format")
    splits = Section(more=True, inside=Section(_parameters(dataset.definition, "root", "classes", "stream"), many=True))
    keys = _parameters(definition("visionkit.data.datamodule", "VisionData"), "required")
    return Section({**keys, "splits": splits, **AUGMENTATION})


def _transform_section(step: Mapping[str, Any]) -> Section | None:
    """Return the valid keys of a step of `data.augment`, which is a registered or albumentations transform.

    Return None for an unknown name, because the names of albumentations are known only after importing it.
    """
    name = str(step.get("name"))
    entry = registered("transforms").get(name)
    albumentations = python_source.find_module("albumentations")
    found = entry.definition if entry else albumentations and python_source.member(albumentations, name)
    return Section({**_parameters(found), "name": None}) if isinstance(found, Definition) else None


AUGMENTATION: dict[str, Section | None] = {
    "augment": Section(many=True, variant=_transform_section),
    "min_visibility": None,
}
"""Valid keys of the random transforms of training images."""


def _backbone_section(recipe: Layer) -> Section:
    """Return the valid keys of all backbones and those of the selected backbone."""
    family = _entry(recipe, "backbones", "model", "backbone", "name").definition
    common = _parameters(definition("visionkit.backbones.create", "create_backbone"))
    return Section({**_parameters(family), **common}, more=takes_any(family))


def _entry(recipe: Layer, registry: str, *path: str) -> Entry:
    """Return the registry entry for the name at `path` of the recipe."""
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
    """Return the section of each parameter."""
    return {name: section_of(kind) for name, kind in parameters(found).items() if name not in left_out}


def _option_groups(found: Definition, *left_out: str) -> dict[str, Section | None]:
    """Return the sections of the option groups, which are the parameters annotated with a dataclass."""
    return {name: section for name, section in _parameters(found, *left_out).items() if section is not None}


def section_of(annotation: Expression, around: tuple[Definition, ...] = ()) -> Section | None:
    """Return the valid keys of a value of the given type; None if it has no keys or they are unknown.

    Args:
        annotation: the type.
        around: dataclasses that contain the annotation. Recursive dataclasses are not followed.
    """
    node, module = annotation.node, annotation.module
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return section_of(Expression(module, ast.parse(node.value, mode="eval").body), around)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return _union([Expression(module, part) for part in (node.left, node.right)], around)
    if isinstance(node, ast.Subscript):
        return _section_of_generic(Expression(module, node.value), node.slice, around)
    meaning = python_source.resolve(annotation)
    if isinstance(meaning, Variable):
        return section_of(Expression(meaning.module, meaning.value), around)
    if isinstance(meaning, Definition) and python_source.has_fields(meaning) and meaning not in around:
        keys = {name: section_of(kind, (*around, meaning)) for name, kind in parameters(meaning).items()}
        return Section(keys)
    return None


def _section_of_generic(base: Expression, inside: ast.expr, around: tuple[Definition, ...]) -> Section | None:
    """Return the valid keys of the type `base[inside]`."""
    name = python_source.qualified_name(base).rpartition(".")[2]
    arguments = [Expression(base.module, part) for part in (inside.elts if isinstance(inside, ast.Tuple) else [inside])]
    if name in UNIONS:
        return _union(arguments, around)
    if name in MAPPINGS:
        section = section_of(arguments[-1], around)
        return None if section is None else Section(more=True, inside=section)
    if name in CONTAINERS or name == "Annotated":
        section = section_of(arguments[0], around)
        return None if section is None else replace(section, many=section.many or name in CONTAINERS)
    return None


def _union(parts: Iterable[Expression], around: tuple[Definition, ...]) -> Section | None:
    """Return the valid keys of all parts of a union."""
    parts = [part for part in parts if not (isinstance(part.node, ast.Constant) and part.node.value is None)]
    sections = [section_of(part, around) for part in parts]
    groups = [section for section in sections if section is not None]
    if not groups:
        return None
    keys = {name: inside for section in groups for name, inside in section.keys.items()}
    more = next((section for section in groups if section.more), Section())
    required = len(groups) == len(sections) and all(section.required for section in groups)
    return Section(keys, more.more, more.inside, required, any(section.many for section in groups))


def _check_keys(values: Any, section: Section | None, path: KeyPath, recipe: Layer) -> None:
    if section is None or values is None:
        return
    if isinstance(values, list) and section.many:
        for index, value in enumerate(values):
            _check_keys(value, replace(section, many=False), (*path, str(index)), recipe)
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
