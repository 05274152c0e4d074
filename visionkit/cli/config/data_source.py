"""Checks of a recipe's data that need no torch: whether its folder exists, and whether its format fits the task."""

from pathlib import Path

from visionkit.cli.config.catalog import registered
from visionkit.cli.config.compose import read_with_base, shipped_files
from visionkit.cli.config.merge import Layer, section
from visionkit.cli.config.multi_cards import cards_of, is_multi
from visionkit.cli.config.python_source import class_constant, class_strings
from visionkit.data.io.paths import require_folder
from visionkit.errors import ConfigError
from visionkit.text import format_list, is_url

IN_WORDS = {
    "boxes": "boxes of objects",
    "label": "one class per image",
    "tags": "the classes of an image",
    "semantic": "semantic masks",
}
"""Description of each kind of annotation, `AnnotationKind`."""

MOST_RECIPES = 4
"""Number of recipes that a message names."""


def check_data_source(recipe: Layer) -> None:
    """Check that the data of a checked recipe can be what its task is trained with.

    Formats and tasks of plugins that do not declare their kinds of annotation are not checked.

    Raises:
        ConfigError: the format has another kind of annotation than the task needs.
        DataError: the folder of the data does not exist.
    """
    if is_multi(recipe):  # the heads that a card is for need its annotation, see `with_bound_cards`
        for card in cards_of(recipe).values():
            check_data_folder(Layer({"data": card}))
        return
    format = registered("formats")[section(recipe, "data")["format"]]
    needed, offered = _needed(recipe), class_strings(format.definition, "annotation_kinds")
    if needed is not None and offered is not None and needed not in offered:
        raise ConfigError(_message(recipe, needed, offered))
    check_data_folder(recipe)


def check_data_folder(recipe: Layer) -> None:
    """Check that the folder of the data of a recipe or card exists.

    Raises:
        DataError: it does not exist.
    """
    data = section(recipe, "data")
    format = registered("formats").get(str(data.get("format")))
    root = data.get("root")
    if format is not None and not format.plugin and isinstance(root, str) and not is_url(root):
        require_folder(Path(root), f"the format {format.name}")


def _needed(recipe: Layer) -> str | None:
    """Return the kind of annotation that the task of a recipe needs; None if it is unknown."""
    needed = _kind_of_task(recipe.values["task"])
    return "tags" if needed == "label" and section(recipe, "model").get("multi_label") is True else needed


def _kind_of_task(name: str) -> str | None:
    return class_constant(registered("tasks")[name].definition, "annotation_kind")


def _message(recipe: Layer, needed: str, offered: list[str]) -> str:
    task, format = recipe.values["task"], section(recipe, "data")["format"]
    has = [IN_WORDS[kind] for kind in offered if kind != "tags" or "label" not in offered]  # its class is its only tag
    fitting = [name for name in registered("tasks") if _kind_of_task(name) in offered]
    recipes = [file.stem for file in shipped_files("recipes") if _task_of(file) in fitting]
    advice = [f"recipes for it: {format_list(recipes, MOST_RECIPES)}; see visionkit list recipes"] if recipes else []
    if needed == "label" and "tags" in offered:
        advice.append("to classify images with any number of classes: model.multi_label=true")
    return "\n".join(
        [
            f"the task {task} needs {IN_WORDS[needed]}, and the format {format} has {' and '.join(has)}",
            *advice,
            f"  {recipe.origin(('data', 'format'))}",
        ]
    )


def _task_of(file: Path) -> str:
    return str(read_with_base(file).values.get("task"))
