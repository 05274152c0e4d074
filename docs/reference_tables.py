"""Tables of options for docs/reference/recipes.md, generated from the option dataclasses and model signatures."""

import dataclasses
import importlib
import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any

OPTIONS = re.compile(r"^::options (?P<path>\S+)$", re.MULTILINE)
MODELS = re.compile(r"^::models (?P<task>\S+)$", re.MULTILINE)
FAMILIES = re.compile(r"^::families (?P<path>\S+)$", re.MULTILINE)
COMMON = ("self", "name", "out_stages", "root", "classes", "stream", "required")
"""Parameters that all families of a registry take, or that do not come from a recipe."""


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace the `::options`, `::models` and `::families` lines of a page (hook of mkdocs)."""
    markdown = OPTIONS.sub(lambda match: option_table(_load(match["path"]), ("required",)), markdown)
    markdown = FAMILIES.sub(lambda match: "\n\n".join(family_tables(_load(match["path"]))), markdown)
    return MODELS.sub(lambda match: "\n".join(model_sections(match["task"])), markdown)


def option_table(target: Callable[..., Any], leave_out: tuple[str, ...] = ()) -> str:
    """Return a Markdown table of the parameters of a class or function: name, type, default, description."""
    described = descriptions(target)
    rows = ["| option | type | default | |", "|---|---|---|---|"]
    for name, parameter in inspect.signature(target).parameters.items():
        if name in leave_out or parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        default = "required" if parameter.default is parameter.empty else f"`{_plain_default(target, parameter)}`"
        cells = [f"`{name}`", f"`{_plain_type(parameter.annotation)}`", default, described.get(name, "")]
        rows.append("| " + " | ".join(map(_escape_pipes, cells)) + " |")
    return "\n".join(rows)


def model_sections(task: str) -> Iterator[str]:
    """Yield a heading, the summary and the option table of every model of a task."""
    from visionkit.models import models

    for name in models:
        model = models.get(name)
        if model.task == task:
            yield f"#### `{name}`\n\n{_summary(model)}\n\n{option_table(model, ('self', 'backbone', 'num_classes'))}\n"


def family_tables(registry: Any) -> Iterator[str]:
    """Yield the names and the option table of each entry of a registry that has options of its own."""
    names: dict[Any, list[str]] = {}
    for name in registry:
        names.setdefault(registry.get(name), []).append(f"`{name}`")
    for entry, its_names in names.items():
        table = option_table(entry, COMMON)
        if table.count("\n") > 1:
            yield f"{', '.join(its_names)}:\n\n{table}"


def descriptions(target: Any) -> dict[str, str]:
    """Return the description of each parameter from the `Args:` or `Attributes:` section of a docstring."""
    found: dict[str, str] = {}
    for base in reversed(inspect.getmro(target)) if inspect.isclass(target) else [target]:
        text = inspect.cleandoc(base.__doc__ or "")
        for section in re.findall(r"^(?:Args|Attributes):\n((?:[ ]+.*\n?|\n)+)", text + "\n", re.MULTILINE):
            for names, description in re.findall(r"^    ([\w, ]+):((?:.*\n?)(?:^     +.*\n?)*)", section, re.MULTILINE):
                for name in names.split(", "):
                    found[name] = " ".join(description.split())
    return found


def _load(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def _summary(target: Any) -> str:
    return (inspect.getdoc(target) or "").split("\n\n")[0].replace("\n", " ")


def _plain_type(annotation: Any) -> str:
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return re.sub(r"\b(?:\w+\.)+(\w+)", r"\1", text).replace("NoneType", "None")


def _plain_default(target: Any, parameter: inspect.Parameter) -> str:
    if dataclasses.is_dataclass(target):
        field = {field.name: field for field in dataclasses.fields(target)}[parameter.name]
        if field.default_factory is not dataclasses.MISSING:
            return str(field.default_factory())
    if dataclasses.is_dataclass(parameter.default):
        return re.sub(r"(\w+)\((.*)\)$", r"{\2}", repr(parameter.default)).replace("=", ": ")
    return str(parameter.default) or '""'


def _escape_pipes(cell: str) -> str:
    """Return the text of a table's cell; pipes in code need no backslash, which would be shown."""
    parts = cell.split("`")
    return "`".join(part if index % 2 else part.replace("|", "\\|") for index, part in enumerate(parts))
