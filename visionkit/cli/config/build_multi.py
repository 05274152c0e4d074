"""Construction of the data and the task of a recipe for a model of several heads."""

from typing import Any

from visionkit.backbones import Backbone
from visionkit.cli.config.multi_cards import OF_AUGMENTATION, OF_SOURCE
from visionkit.cli.config.typed_options import call, instantiate, parse_section
from visionkit.data.datamodule import VisionData
from visionkit.data.datasets.base import AnnotationKind
from visionkit.data.multi.multi_data import MultiData
from visionkit.models import models
from visionkit.models.multi_head import MultiHead
from visionkit.tasks import MultiTask, Task, tasks

COMMON = ("augment", "min_visibility")
"""Keys of `data` that are those of every card that does not have them."""

OF_RUN = ("optimizer", "schedule")
"""Sections of a task that a head does not have by itself."""

OF_EVERY_HEAD = ("name", "out_stages", "weights")
"""Options of a head that are not those of its model."""


def build_multi_data(recipe: dict[str, Any]) -> MultiData:
    """Return the datamodule of a recipe. Each head reads the images of its cards that have its annotation."""
    data = recipe["data"]
    loader = {key: value for key, value in data.items() if key not in (*COMMON, "cards")}
    common = {key: data[key] for key in COMMON if key in data}
    sources = {
        head: {
            name: _card(name, {**common, **card}, recipe["model"]["heads"][head])
            for name, card in data["cards"].items()
            if head in card["heads"]
        }
        for head in recipe["model"]["heads"]
    }
    kinds = {head: _kind(options) for head, options in recipe["model"]["heads"].items()}
    made: MultiData = instantiate(MultiData, loader, "data", sources=sources, kinds=kinds)
    return made


def build_multi_task(recipe: dict[str, Any], data: MultiData, backbone: Backbone) -> MultiTask:
    """Return the task of a recipe with a new model for the classes of `data`."""
    heads = {name: _head_options(name, options, data) for name, options in recipe["model"]["heads"].items()}
    given = {"backbone": backbone, "num_classes": len(data.class_names), "heads": heads}
    own = {key: value for key, value in recipe["model"].items() if key not in ("name", *given)}
    arguments = parse_section(MultiHead, own, "model", **given)
    model: MultiHead = call(MultiHead, arguments, "model", recipe["model"])
    of_heads = {name: _head_task(name, model, recipe, data) for name in heads}
    options = {
        key: instantiate(kind, recipe[key], key) for key, kind in MultiTask.option_types.items() if key in recipe
    }
    task: MultiTask = call(MultiTask, {"model": model, "heads": of_heads, **options}, "model", recipe)
    task.recipe = recipe
    return task


def _card(name: str, card: dict[str, Any], head: dict[str, Any]) -> VisionData:
    """Return the data of a card for a head."""
    values = {key: value for key, value in card.items() if key in (*OF_SOURCE, *OF_AUGMENTATION)}
    model = models.get(head["name"])
    required = tasks.get(model.task).required_annotation(model, bool(head.get("multi_label")))
    data: VisionData = instantiate(VisionData, values, f"data.cards.{name}", required=required)
    return data


def _kind(head: dict[str, Any]) -> AnnotationKind:
    kind = tasks.get(models.get(head["name"]).task).annotation_kind
    return "tags" if kind == "label" and head.get("multi_label") else kind


def _head_options(name: str, given: dict[str, Any], data: MultiData) -> dict[str, Any]:
    """Return the options of a head for `MultiHead`, with the types that its model declares."""
    own: dict[str, Any] = {key: given[key] for key in OF_EVERY_HEAD if key in given}
    keys = {key: value for key, value in given.items() if key not in own}
    fixed = {"backbone": None, "num_classes": len(data.of_head(name).class_names)}
    typed = parse_section(models.get(given["name"]), keys, f"model.heads.{name}", **fixed)
    del typed["backbone"]
    return {**{key: value for key, value in typed.items() if key != "weights"}, **own}


def _head_task(name: str, model: MultiHead, recipe: dict[str, Any], data: MultiData) -> Task:
    given = (recipe.get("heads") or {}).get(name) or {}
    task_class = tasks.get(model.head(name).task)
    options = {
        key: instantiate(kind, given[key], f"heads.{name}.{key}")
        for key, kind in task_class.sections().items()
        if key in given and key not in OF_RUN
    }
    arguments = {"model": model.head(name), **task_class.data_arguments(data.of_head(name)), **options}
    task: Task = call(task_class, arguments, f"heads.{name}", given)
    return task
