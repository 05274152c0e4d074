"""Make the recipe of a data card for `visionkit fit CARD`."""

import sys
from collections.abc import Sequence
from typing import Any

from visionkit.cli.automatic.machine import this_machine
from visionkit.cli.automatic.plan import Plan
from visionkit.cli.automatic.rules import MODELS, Case, make_plan
from visionkit.cli.config.build import build_data
from visionkit.cli.config.compose import compose, find_file, read_with_base
from visionkit.cli.config.merge import COMMAND_LINE, Layer, merge, saying_where, section
from visionkit.cli.processes import is_first_process
from visionkit.data.stats.card_facts import CardFacts, read_card_facts
from visionkit.errors import ConfigError, VisionkitError

ORIGIN = "the recipe that visionkit made for the card"


def make_recipe(words: Sequence[str], minutes: float | None) -> Layer:
    """Return the recipe for a card, and print the reason of each of its settings.

    Keys of the card and overrides take precedence over the recipe.

    Args:
        words: paths or names of cards, and overrides.
        minutes: time for training; None for as many epochs as the number of images suggests.

    Raises:
        VisionkitError: the card cannot be read, or there are no rules for the task that is asked for.
    """
    card = compose(words)
    _check_task(card)
    facts = _read_facts(card)
    given = section(card, "model", "backbone").get("name")
    machine = this_machine(given, measure=minutes is not None)
    validates = section(card, "trainer").get("limit_val_batches") != 0
    model = section(card, "model").get("name")
    plan = make_plan(Case(facts, machine, minutes, model, _asked_side(card), validates))
    if is_first_process():
        _print(plan, facts)
    base = read_with_base(find_file(plan.recipe, "recipes"))
    chosen = plan.values()
    recipe = compose(words, start=merge(base, Layer(chosen, _origins(chosen))))
    return _with_input_size(recipe, chosen.get("preprocess", {}))


def _asked_side(card: Layer) -> int | None:
    """Return the side of the model's input that the command line asks for; None if it does not."""
    given = section(card, "preprocess")
    asked = [key for key in ("crop", "short_side") if card.origin(("preprocess", key)) == COMMAND_LINE]
    return given[asked[0]] if asked else None


def _check_task(card: Layer) -> None:
    task = card.values.get("task")
    if task is not None and task not in MODELS:
        raise ConfigError(
            f"task={task}: without a recipe, the task is one of {', '.join(MODELS)}\n"
            "name a recipe before the card: visionkit list recipes"
        )


def _with_input_size(recipe: Layer, preprocess: dict[str, Any]) -> Layer:
    """Return the recipe with the planned input of a classifier, except for the keys of the command line.

    A card such as that of CIFAR-10 has a crop for networks that were published for small images. Pretrained networks
    need larger ones.
    """
    if "crop" not in preprocess:
        return recipe
    planned = {key: value for key, value in preprocess.items() if recipe.origin(("preprocess", key)) != COMMAND_LINE}
    above = {"preprocess": planned}
    return merge(recipe, Layer(above, _origins(above)))


def _read_facts(card: Layer) -> CardFacts:
    with saying_where(card):
        data = {"data": card.values["data"]}
        splits = build_data(data).splits
        try:
            masked = build_data(data, required="masks").splits
            masked.dataset("train")
        except VisionkitError:  # the format, or the objects of this card, have no masks
            masked = None
        return read_card_facts(splits, masked, card.values.get("task"))


def _print(plan: Plan, facts: CardFacts) -> None:
    """Print the plan to stderr: the recipe of `--dry-run` goes to stdout."""
    height, width = facts.median_size
    print(
        f"{facts.task}: {facts.images} training images of about {width} x {height} pixels, "
        f"{len(facts.class_names)} classes, {facts.validation_images} validation images",
        file=sys.stderr,
    )
    for line in plan.lines():
        print(f"  {line}", file=sys.stderr)


def _origins(values: dict[str, Any], path: tuple[str, ...] = ()) -> dict[tuple[str, ...], str]:
    """Return the origin of all nested values."""
    origins = {(*path, key): ORIGIN for key in values}
    for key, value in values.items():
        if isinstance(value, dict):
            origins |= _origins(value, (*path, key))
    return origins
