"""Advice on pretrained weights for a dataset, with training commands, for `visionkit transfer advise`."""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from visionkit.cli.config.build import build_backbone, build_data
from visionkit.cli.config.compose import compose, is_override, names_recipe, shipped_files
from visionkit.cli.logs import show_progress_messages
from visionkit.data.stats.card_facts import task_of
from visionkit.engine.transfer_statistics import (
    EXAMPLES,
    LARGE_FROM,
    SIMILAR_BELOW,
    native_preprocess,
    transfer_statistics,
)
from visionkit.text import format_list

HEAD, FINETUNE = "transfer_head", "transfer_finetune"


@dataclass(frozen=True)
class Case:
    """One of the four cases of transfer learning.

    Attributes:
        name: description of the case.
        reason: advice with its reason.
        classifier: recipe and words for a classifier.
        other: words for the recipes of the other tasks.
    """

    name: str
    reason: str
    classifier: tuple[str, ...]
    other: tuple[str, ...]


CASES: dict[tuple[bool, bool], Case] = {
    (False, True): Case(
        "few images, similar domain",
        "the features fit, and few images would make them worse: train only the layers after them",
        (HEAD,),
        ("model.backbone.batch_norm=frozen", "model.backbone.frozen_stages=all"),
    ),
    (True, True): Case(
        "many images, similar domain",
        "enough images to train all layers, the first ones with lower learning rates",
        (FINETUNE,),
        ("model.backbone.batch_norm=frozen", "model.backbone.frozen_stages=1", "optimizer.stage_lr_decay=0.7"),
    ),
    (False, False): Case(
        "few images, different domain",
        "late features are too specific: freeze the first stages, which are general, and train the others slowly",
        (FINETUNE, "model.backbone.frozen_stages=2"),
        ("model.backbone.batch_norm=frozen", "model.backbone.frozen_stages=2", "optimizer.stage_lr_decay=0.7"),
    ),
    (True, False): Case(
        "many images, different domain",
        "pretrained weights are only a good start: train all stages with one learning rate",
        (FINETUNE, "optimizer.stage_lr_decay=1"),
        ("model.backbone.batch_norm=frozen", "model.backbone.frozen_stages=0"),
    ),
}
"""Cases by two booleans: whether the dataset is large, and whether its domain is similar."""

HEAD_FIRST = ("model.backbone.frozen_stages=all", "unfreeze=[{epoch: 5, frozen_stages: 2, warmup_steps: 100}]")
"""Overrides that train the head first, then all stages except the first two."""


def advise(recipe: dict[str, Any], words: Sequence[str]) -> int:
    """Print the transfer case of a card, the statistics that determine it, and the commands to use.

    Args:
        recipe: recipe composed of `words`, with a shipped recipe if they include none.
        words: the words of the command line.
    """
    show_progress_messages()
    backbone = build_backbone(recipe)
    dataset = build_data({"data": recipe["data"]}).dataset("train")
    task = recipe["task"] if names_recipe(words) else task_of(dataset)
    statistics = transfer_statistics(dataset, backbone, task)
    native = native_preprocess(backbone)
    for line in [
        *_about_size(statistics, task),
        *_about_domain(statistics, backbone),
        *_verdict(statistics, task, words, [*_weights(task, words), *_size_words(recipe, task, native)]),
    ]:
        Console().print(line, soft_wrap=True, highlight=False, markup=False)
    return 0


def _about_size(statistics: Any, task: str) -> Iterator[str]:
    height, width = statistics.median_size
    yield f"task: {task}, {statistics.images} training images, median size {width} x {height}"
    counts = format_list([f"{name} {count}" for name, count in statistics.examples.items()], 12)
    yield f"{EXAMPLES[task]} of each of {len(statistics.examples)} classes: {counts}"
    size = "many" if statistics.is_large else "few"
    yield f"median of the classes: {statistics.median_examples:g}, that is {size} (many from {LARGE_FROM})"


def _about_domain(statistics: Any, backbone: Any) -> Iterator[str]:
    for what, own, source in (("mean", statistics.mean, backbone.mean), ("std", statistics.std, backbone.std)):
        yield f"{what} of red, green, blue: {_numbers(own)}; {backbone.name} is normalized with {_numbers(source)}"
    if statistics.mean_distance is None:
        yield f"{backbone.name} has no BatchNorm layers, so there are no statistics of the images it was trained on:"
        yield "the distance to your images is unknown; try model.backbone=resnet50, or compare by eye"
        return
    stages = ", ".join(f"{stage} {value:.3f}" for stage, value in statistics.distance.items())
    yield f"distance of the features to the network's own, {statistics.sample_size} images, by stage: {stages}"
    near = "similar" if statistics.is_similar else "different"
    yield f"mean: {statistics.mean_distance:.3f}, that is {near} (similar below {SIMILAR_BELOW}; 0 the same, 1 foreign)"


def _verdict(statistics: Any, task: str, start: Sequence[str], common: Sequence[str]) -> Iterator[str]:
    """Yield lines with the case, or with both possible cases, and the commands.

    Args:
        statistics: statistics of the training set.
        task: task of the card.
        start: the words of the command line.
        common: words that every command needs.
    """
    open_ends = (
        {True: " (if the images are alike)", False: " (if they are not)"} if statistics.is_similar is None else {}
    )
    for similar in open_ends or [statistics.is_similar]:
        case = CASES[statistics.is_large, similar]
        yield f"\ncase: {case.name}{open_ends.get(similar, '')}"
        yield f"  {case.reason}"
        recipe, words = _recipe_for(task, case)
        if not (recipe or names_recipe(start)):
            yield f"  no recipe for {task} is shipped; add to your own: {' '.join(words)}"
            continue
        files = list(start) if names_recipe(start) else [recipe, *start]
        yield f"  {_command([*files, *common, *words])}"
        if not (statistics.is_large or similar):
            yield "  or the head first:"
            yield f"  {_command([*files, *common, *words, *HEAD_FIRST])}"


def _recipe_for(task: str, case: Case) -> tuple[str, Sequence[str]]:
    """Return a shipped recipe, or "" if there is none, and the overrides for a case."""
    if task == "classification":
        return case.classifier[0], case.classifier[1:]
    usual = compose([HEAD]).values["model"]["backbone"]["name"]
    found = {file.stem: compose([str(file)]).values for file in shipped_files("recipes")}
    fitting = {name: values["model"]["backbone"]["name"] for name, values in found.items() if values["task"] == task}
    with_usual = [name for name, backbone in fitting.items() if backbone == usual]
    return next(iter([*with_usual, *fitting]), ""), case.other


def _weights(task: str, words: Sequence[str]) -> list[str]:
    """Return overrides for pretrained weights, which detection and segmentation recipes may lack."""
    given = any(word.startswith("model.backbone.weights=") for word in words)
    return [] if given or task == "classification" else ["model.backbone.weights=imagenet"]


def _size_words(recipe: dict[str, Any], task: str, native: Any) -> list[str]:
    """Return overrides of the input size, because a card may have a crop that is too small for deep networks."""
    asked = (recipe.get("preprocess") or {}).get("crop", native.crop)
    if task != "classification" or asked >= native.crop:
        return []
    return [f"preprocess.short_side={native.short_side}", f"preprocess.crop={native.crop}"]


def _command(words: Sequence[str]) -> str:
    """Return the command with the given words. Only the last of several overrides of a key is kept."""
    last = {word.partition("=")[0] if is_override(word) else word: word for word in words}
    return shlex.join(["visionkit", "fit", *last.values()])


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.2f}" for value in values)
