"""Composition of recipes for a model of several heads: data cards by name, and the heads that each is for."""

from collections.abc import Iterator
from typing import Any

from visionkit.cli.config.catalog import Entry, registered
from visionkit.cli.config.merge import Layer, merge, section
from visionkit.cli.config.python_source import class_constant, class_strings
from visionkit.errors import ConfigError
from visionkit.limited_yaml import KeyPath
from visionkit.option_checks import check_names
from visionkit.registry import suggest

MULTI = "multi"
"""Name of the task, and of the model."""

OF_MODEL, OF_HEAD = "model", ("preprocess", "inference", "evaluation", "loss", "mixing")
"""Sections of a card's `for:` that apply to the model of a head, and to the other options of the head."""

OF_SOURCE = ("format", "root", "splits", "classes", "download", "holdout", "bit_depth", "exclude", "stream")
"""Keys of a card that say which images there are."""

OF_AUGMENTATION = ("augment", "min_visibility", "proposals")


def is_multi(layer: Layer) -> bool:
    """Return whether a layer is part of a recipe for a model of several heads."""
    return layer.values.get("task") == MULTI


def refuse_multi(layer: Layer) -> None:
    """Raise ConfigError for a recipe of several heads, where a command needs the images of one task."""
    if is_multi(layer):
        where = layer.origin(("task",))
        raise ConfigError(f"this command is for one data card, and a recipe of several heads has several\n  {where}")


def as_named_card(card: Layer, name: str) -> Layer:
    """Return a data card as the card `name` of a recipe: its `data` as `data.cards.<name>`, without loader options."""
    kept = {key: value for key, value in card.values["data"].items() if key in (*OF_SOURCE, *OF_AUGMENTATION)}
    values = {**card.values, "data": {"cards": {name: kept}}}
    return Layer(values, {_moved(path, name): where for path, where in card.origins.items()})


def _moved(path: KeyPath, name: str) -> KeyPath:
    return ("data", "cards", name, *path[1:]) if path[:1] == ("data",) else path


def cards_of(layer: Layer) -> dict[str, dict[str, Any]]:
    """Return the cards of a recipe by name.

    Raises:
        ConfigError: a card does not hold keys.
    """
    return {name: section(layer, "data", "cards", name) for name in section(layer, "data", "cards")}


def only_cards(layer: Layer, names: list[str]) -> Layer:
    """Return the layer with only the given cards, which take the place of those of the recipe.

    What the recipe says about a given card is kept, but not which images another card of this name has.
    """
    data = layer.values.get("data") or {}
    kept = {name: _without_images(card) for name, card in cards_of(layer).items() if name in names}
    return Layer({**layer.values, "data": {**data, "cards": kept}}, layer.origins)


def _without_images(card: dict[str, Any]) -> dict[str, Any]:
    """Return a card without its images, if it has a format; without one, its keys are those of a card to be read."""
    return {key: value for key, value in card.items() if key not in OF_SOURCE} if "format" in card else card


def without_replaced_sources(layer: Layer, override: Layer) -> Layer:
    """Return the layer without the images of the cards to which an override gives another format."""
    cards = cards_of(layer)
    for name, given in cards_of(override).items():
        card = cards.get(name, {})
        if given.get("format") not in (None, card.get("format")):
            cards[name] = _without_images(card)
    data = layer.values.get("data") or {}
    return Layer({**layer.values, "data": {**data, "cards": cards}}, layer.origins)


def model_of_head(layer: Layer, head: str) -> Entry | None:
    """Return the model of a head in the catalog; None if it is unknown."""
    options = heads_of(layer)[head]
    return registered("models").get(str(options.get("name")))


def heads_of(layer: Layer) -> dict[str, dict[str, Any]]:
    """Return `model.heads` of a recipe.

    Raises:
        ConfigError: there are none, one does not hold keys, or its name cannot be part of a file name.
    """
    names, path = [*section(layer, "model", "heads")], ("model", "heads")
    if not names:
        raise ConfigError(f"model.heads is missing: model.heads.objects.name=faster_rcnn\n  {layer.origin(path)}")
    try:
        check_names("head", names)
    except ConfigError as error:
        raise ConfigError(f"model.heads: {error}\n  {layer.origin(path)}") from error
    return {name: section(layer, *path, name) for name in names}


def task_of_head(layer: Layer, head: str) -> str | None:
    """Return the task of a head's model; None if the model is unknown."""
    model = model_of_head(layer, head)
    return None if model is None else class_constant(model.definition, "task")


def kind_of_head(layer: Layer, head: str) -> str | None:
    """Return the kind of annotation that a head is trained with, see `AnnotationKind`; None if it is unknown."""
    task = task_of_head(layer, head)
    if task not in registered("tasks"):
        return None
    kind = class_constant(registered("tasks")[task].definition, "annotation_kind")
    return "tags" if kind == "label" and heads_of(layer)[head].get("multi_label") is True else kind


def with_bound_cards(layer: Layer) -> Layer:
    """Return the recipe with the heads of every card. A card without `heads` is for those whose annotation it has.

    Raises:
        ConfigError: a card is for no head, for one that does not exist, or for several of one kind; or a head has no
            card.
    """
    bound = _heads_by_card(layer)
    cards = {name: {**card, "heads": bound[name]} for name, card in cards_of(layer).items()}
    for head in heads_of(layer):
        if not any(head in card["heads"] for card in cards.values()):
            kind = kind_of_head(layer, head)
            raise ConfigError(
                f"the head {head} has no data card: give one with {kind or 'its annotation'}, or bind one:\n"
                f"data.cards.<card>.heads=[{head}]; the cards are {', '.join(cards) or 'missing'}\n"
                f"  {layer.origin(('model', 'heads', head))}"
            )
    data = layer.values.get("data") or {}
    return Layer({**layer.values, "data": {**data, "cards": cards}}, layer.origins)


def _heads_by_card(layer: Layer) -> dict[str, list[str]]:
    """Return the heads of each card: those that it names, or those whose annotation it has.

    Classes of an image that follow from its boxes are used only if no other card has them.
    """
    cards = cards_of(layer)
    found = {
        name: _fitting_heads(layer, name, card) if card.get("heads") is None else _named_heads(layer, name, card)
        for name, card in cards.items()
    }
    unnamed = [name for name, card in cards.items() if card.get("heads") is None]
    by_the_way = [name for name in unnamed if "boxes" in (_offered(cards[name]) or [])]
    others = {head for name, heads in found.items() if name not in by_the_way for head in heads}
    for name in by_the_way:
        found[name] = [head for head in found[name] if kind_of_head(layer, head) != "tags" or head not in others]
    return found


def _named_heads(layer: Layer, name: str, card: dict[str, Any]) -> list[str]:
    """Return the heads that a card names."""
    heads, where = [*heads_of(layer)], layer.origin(("data", "cards", name))
    given, offered = card["heads"], _offered(card)
    named = [given] if isinstance(given, str) else given
    if not isinstance(named, list) or not named or not all(isinstance(head, str) for head in named):
        raise ConfigError(f"data.cards.{name}.heads={given!r} must be a list of names\n  {where}")
    for head in named:
        if head not in heads:
            raise ConfigError(f"data.cards.{name}.heads: no head {head!r}{suggest(head, heads)}\n  {where}")
        kind = kind_of_head(layer, head)
        if offered is not None and kind is not None and kind not in offered:
            raise ConfigError(
                f"the card {name} cannot be used by the head {head}, which needs {kind}: its format "
                f"{card['format']} has {', '.join(offered)}\n  {where}"
            )
    return named


def _fitting_heads(layer: Layer, name: str, card: dict[str, Any]) -> list[str]:
    """Return the heads whose kind of annotation a card has."""
    where, offered = layer.origin(("data", "cards", name)), _offered(card)
    if offered is None:
        raise ConfigError(
            f"the card {name} can have any annotation: say which heads it is for\n"
            f"data.cards.{name}.heads=[{', '.join(heads_of(layer))}]\n  {where}"
        )
    kinds = {head: kind_of_head(layer, head) for head in heads_of(layer)}
    fitting = [head for head, kind in kinds.items() if kind in offered]
    if not fitting:
        needed = ", ".join(f"{head}: {kind}" for head, kind in kinds.items())
        raise ConfigError(
            f"no head can use the card {name}, which has {', '.join(offered)}\nthe heads need: {needed}\n  {where}"
        )
    for kind in {kinds[head] for head in fitting}:
        rivals = [head for head in fitting if kinds[head] == kind]
        if len(rivals) > 1:
            raise ConfigError(
                f"the card {name} has {kind}, which several heads take: {', '.join(rivals)}\n"
                f"say which it is for: data.cards.{name}.heads=[{rivals[0]}]\n  {where}"
            )
    return fitting


def _offered(card: dict[str, Any]) -> list[str] | None:
    """Return the kinds of annotation of a card's format; None if they are unknown."""
    format = registered("formats").get(str(card.get("format")))
    return None if format is None else class_strings(format.definition, "annotation_kinds")


def with_card_sections(layer: Layer, card: Layer, name: str) -> Layer:
    """Return the recipe with the `for:` sections of a card that match the heads it is for.

    They change the model and the options of a head. What they say about the run (optimizer, trainer) and about the
    images is for a model alone, and is left out.
    """
    sections, backbone = card.values.get("for") or {}, section(layer, "model", "backbone")
    for head in cards_of(layer).get(name, {}).get("heads") or []:
        for key in _matching(layer, head, str(backbone.get("name"))):
            for path, values in _routed(sections.get(key) or {}, head):
                layer = merge(layer, _nested(path, values, card.origin(("for", key))))
    return layer


def _matching(layer: Layer, head: str, backbone: str) -> list[str]:
    """Return the keys of `for:` that match a head, see `with_matching_sections`."""
    model = heads_of(layer)[head].get("name")
    return [key for key in (task_of_head(layer, head), model, f"{model}/{backbone}") if isinstance(key, str)]


def _routed(given: dict[str, Any], head: str) -> Iterator[tuple[KeyPath, dict[str, Any]]]:
    """Yield the paths in the recipe, and the values, of a section that applies to a head."""
    for key, values in given.items():
        if key == OF_MODEL and isinstance(values, dict):
            yield ("model", "heads", head), {name: value for name, value in values.items() if name != "backbone"}
        elif key in OF_HEAD and isinstance(values, dict):
            yield ("heads", head, key), values


def _nested(path: KeyPath, values: dict[str, Any], origin: str) -> Layer:
    nested: Any = values
    for key in reversed(path):
        nested = {key: nested}
    return Layer(nested, {(*path, key): origin for key in values})
