"""Composition of a recipe from the words after `fit`: bases, recipe, cards, `for:` sections, overrides."""

import functools
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from visionkit.cli.config.catalog import add_plugin_file, registered
from visionkit.cli.config.merge import Layer, merge, override_layer, read_layer, section
from visionkit.cli.config.multi_cards import (
    as_named_card,
    cards_of,
    is_multi,
    only_cards,
    with_bound_cards,
    with_card_sections,
    without_replaced_sources,
)
from visionkit.errors import ConfigError
from visionkit.limited_yaml import KeyPath
from visionkit.registry import suggest
from visionkit.text import is_url

DEFAULT_CARD = "shapes"

KINDS = ("recipes", "data")
"""Folders of the files that are shipped with visionkit."""

SOURCE_FROM_CHECKPOINT: dict[str, Any] = {
    **dict.fromkeys(("format", "root", "splits", "classes", "bit_depth", "holdout", "exclude", "batch_size")),
    "proposals": dict.fromkeys(("mode", "count", "file")),
}

FROM_CHECKPOINT: dict[str, Any] = {
    **dict.fromkeys(("task", "model", "preprocess", "inference", "evaluation")),
    "heads": {"*": dict.fromkeys(("preprocess", "inference", "evaluation"))},
    "data": {**SOURCE_FROM_CHECKPOINT, "cards": {"*": {**SOURCE_FROM_CHECKPOINT, "heads": None}}},
    "trainer": {"precision": None},
}
"""Keys that are taken from the recipe of a checkpoint; "*" stands for any name. None takes the whole value."""


def compose(words: Sequence[str], onto: dict[str, Any] | None = None, start: Layer | None = None) -> Layer:
    """Merge files and overrides. Later words take precedence, and overrides take precedence over files.

    Args:
        words: paths or bare names of recipes and cards, folders of images with annotations, and `key=value`
            overrides, in any order.
        onto: recipe of a checkpoint to start from; see `from_checkpoint`.
        start: recipe to start from that was not read from a checkpoint, with the origins of its values.

    Returns:
        The composed recipe. If no data format is given, the overrides are merged into `data/shapes.yaml`. The names
        that its plugins register are added to the catalog.

    Raises:
        ConfigError: a file is missing or invalid, or `base:` is circular.
    """
    overrides = [_complete(override_layer(word), Path.cwd()) for word in words if is_override(word)]
    layer = start or Layer(from_checkpoint(onto or {}))
    files = {word: _file_layer(word) for word in words if not is_override(word)}
    if any(map(is_multi, [layer, *files.values()])):
        return _compose_multi(layer, files, overrides)
    for given in files.values():
        layer = with_card(layer, given)
    check_for_sections(layer)
    if not any("format" in section(given, "data") for given in (layer, *overrides)):
        layer = merge(layer, read_with_base(find_file(DEFAULT_CARD, "data")))
    for given in overrides:
        if section(given, "data").get("format") not in (None, section(layer, "data").get("format")):
            layer = without_data_source(layer)
    names = functools.reduce(merge, overrides, only(layer, "task", "model"))
    return functools.reduce(merge, overrides, with_matching_sections(layer, names))


def _file_layer(word: str) -> Layer:
    return folder_layer(word) if is_folder(word) else read_with_base(find_file(word))


def _compose_multi(layer: Layer, files: Mapping[str, Layer], overrides: Sequence[Layer]) -> Layer:
    """Return the recipe of a model with several heads.

    The name of a card is that of its file. Cards among the files take the place of those in the recipe; a card in the
    recipe without a format is the shipped card of this name.
    """
    cards = {card_name(word): given for word, given in files.items() if "format" in section(given, "data")}
    if len(cards) < sum("format" in section(given, "data") for given in files.values()):
        raise ConfigError("two data cards have the same name: rename one of the files")
    for given in files.values():
        if "format" not in section(given, "data"):
            layer = merge(layer, given)
    if cards:
        layer = only_cards(layer, [*cards])
    else:
        unread = [name for name, card in cards_of(layer).items() if "format" not in card]
        cards = {name: read_with_base(find_file(name, "data")) for name in unread}
    recipe = layer
    for name, card in cards.items():
        check_for_sections(card)
        layer = merge(layer, without_for(as_named_card(card, name)))
    layer = merge(layer, only(recipe, "data"))  # what the recipe says about a card is meant for it
    layer = functools.reduce(without_replaced_sources, overrides, layer)
    layer = with_bound_cards(functools.reduce(merge, overrides, layer))
    for name, card in cards.items():
        layer = with_card_sections(layer, card, name)
    return with_bound_cards(functools.reduce(merge, overrides, layer))  # an override may name one head without a list


def card_name(word: str) -> str:
    """Return the name of a card, from its path or folder; overrides cannot name one with a dot."""
    return os.path.basename(os.path.abspath(word.replace("\\", "/"))).removesuffix(".yaml").replace(".", "_")


def without_for(layer: Layer) -> Layer:
    """Return the layer without its `for:` sections."""
    return Layer({key: value for key, value in layer.values.items() if key != "for"}, layer.origins)


def from_checkpoint(recipe: dict[str, Any]) -> dict[str, Any]:
    """Return the part of a checkpoint's recipe that is used to score its model.

    A checkpoint may come from an untrusted source. What is taken from it describes the model, the evaluation and which
    files are read. It does not name code that is imported (plugins), files that are written (caches), downloads and
    URLs, processes or devices.
    """
    taken = _allowed(recipe, FROM_CHECKPOINT)
    data = taken.get("data")
    if isinstance(data, dict):
        taken["data"] = _without_url(data)
        if isinstance(data.get("cards"), dict):
            taken["data"]["cards"] = {name: _without_url(card) for name, card in data["cards"].items()}
    return taken


def _without_url(data: Any) -> Any:
    """Return a `data` section without its root if that is an URL."""
    if isinstance(data, dict) and is_url(str(data.get("root"))):
        return {key: value for key, value in data.items() if key != "root"}
    return data


def _allowed(values: dict[str, Any], keys: dict[str, Any]) -> dict[str, Any]:
    """Return the values of the given keys, and of the keys below them."""
    allowed = {}
    for key, value in values.items():
        if key in keys or "*" in keys:
            below = keys.get(key, keys.get("*"))
            allowed[key] = _allowed(value, below) if isinstance(below, dict) and isinstance(value, dict) else value
    return allowed


def with_default_recipe(words: Sequence[str], default: str) -> Layer:
    """Return the composed recipe of the words. If they are only cards and overrides, `default` is the recipe."""
    return compose(words if names_recipe(words) else [default, *words])


def names_recipe(words: Sequence[str]) -> bool:
    """Return whether the words include a recipe."""
    return "task" in compose(words).values


def lacks_recipe(words: Sequence[str]) -> bool:
    """Return whether the files of the words are data cards, and none is a recipe."""
    files = [word for word in words if not is_override(word)]
    layers = [Layer() if is_folder(word) else read_with_base(find_file(word)) for word in files]
    has_data = any(is_folder(word) for word in files) or any("format" in section(layer, "data") for layer in layers)
    return has_data and not any("task" in layer.values for layer in layers)


def is_override(word: str) -> bool:
    """Return whether a word is an override `key=value` and not a file."""
    return "=" in word and not os.path.exists(word)  # unlike Path.exists, this takes words of any length


def is_folder(word: str) -> bool:
    """Return whether a word is a folder whose format is to be recognized, and not the name of a recipe or card."""
    return os.path.isdir(word) and word not in {file.stem for kind in KINDS for file in shipped_files(kind)}


@functools.cache
def folder_layer(word: str) -> Layer:
    """Return the card of a folder, and print what was recognized.

    Raises:
        DataError: the format of the folder is not recognized.
    """
    from visionkit.data.folder_card import card_of_folder

    card = card_of_folder(Path(word))
    data = card.values["data"]
    print(f"{word}: format {data['format']} with the splits {', '.join(data['splits'])}", file=sys.stderr)
    for note in card.notes:
        print(f"  {note}", file=sys.stderr)
    return Layer(card.values, {("data",): f"the folder {word}"})


def only(layer: Layer, *keys: str) -> Layer:
    """Return the layer with only the given sections."""
    return Layer({key: value for key, value in layer.values.items() if key in keys}, layer.origins)


def with_card(layer: Layer, card: Layer) -> Layer:
    """Return the layer with a recipe or card merged into it. A card with a data format replaces the earlier data."""
    return merge(without_data_source(layer) if "format" in section(card, "data") else layer, card)


def without_data_source(layer: Layer) -> Layer:
    """Return the layer without the files of an earlier card, because another format has other options."""
    source = ("format", "root", "splits", "classes", "bit_depth", "exclude", "download", "stream")
    data = {key: value for key, value in section(layer, "data").items() if key not in source}
    return Layer({**layer.values, "data": data}, layer.origins)


def with_matching_sections(layer: Layer, names: Layer) -> Layer:
    """Return the layer with its `for:` sections that match `names` merged into it.

    The keys of `for:` are a task ("segmentation"), a model ("unet"), or a model on one backbone ("unet/resnet50").
    """
    result = without_for(layer)
    named = with_named_backbone(names)
    model, backbone = (section(named, *path).get("name") for path in (("model",), ("model", "backbone")))
    for name in (named.values.get("task"), model, f"{model}/{backbone}"):
        if isinstance(name, str):
            origins = {path[2:]: where for path, where in layer.origins.items() if path[:2] == ("for", name)}
            result = merge(result, with_named_backbone(Layer(section(layer, "for", name), origins)))
    return result


def check_for_sections(layer: Layer) -> None:
    """Check that each `for:` section can apply.

    Raises:
        ConfigError: a section is for an unknown task or model, or has no keys.
    """
    if not section(layer, "for"):
        return
    names = {*registered("tasks"), *registered("models")}
    for name in section(layer, "for"):
        if name.partition("/")[0] not in names:
            raise ConfigError(
                f"for: {name!r} is no task or model{suggest(name, names)}\n  {layer.origin(('for', name))}"
            )
        section(layer, "for", name)


def _complete(layer: Layer, folder: Path) -> Layer:
    """Return the layer with shorthands expanded. Paths of plugins are relative to `folder`."""
    return _with_plugins(with_named_backbone(layer), folder)


def _with_plugins(layer: Layer, folder: Path) -> Layer:
    """Return the layer with absolute paths of its plugins, and add the names they register to the catalog.

    Raises:
        ConfigError: a plugin does not exist or is not a Python file.
    """
    if not layer.values.get("plugins"):
        return layer
    named = layer.values["plugins"]
    files = [named] if isinstance(named, str) else named
    where = layer.origin(("plugins",))
    if not isinstance(files, list) or not all(isinstance(file, str) for file in files):
        raise ConfigError(f"plugins takes a Python file or a list of them, not {named!r}\n  {where}")
    paths = []
    for file in files:
        try:
            paths.append((folder / file).resolve())
            add_plugin_file(paths[-1])
        except (ValueError, RuntimeError) as error:  # ConfigError; a name with NUL; links in a circle
            raise ConfigError(f"plugins: {error}\n  {where}") from error
    return Layer({**layer.values, "plugins": [str(path) for path in paths]}, layer.origins)


def with_named_backbone(layer: Layer) -> Layer:
    """Return the layer with `model.backbone: name` expanded to `model.backbone.name: name`."""
    model = layer.values.get("model")
    if not isinstance(model, dict) or not isinstance(model.get("backbone"), str):
        return layer
    values = {**layer.values, "model": {**model, "backbone": {"name": model["backbone"]}}}
    path: KeyPath = ("model", "backbone")
    return Layer(values, {**layer.origins, (*path, "name"): layer.origin(path)})


def read_with_base(path: Path, above: tuple[Path, ...] = ()) -> Layer:
    """Return a file merged into the files of its `base:`, whose paths are relative to the file.

    Raises:
        ConfigError: a file is missing or invalid, or `base:` is circular.
    """
    if path.resolve() in above:
        chain = " -> ".join(str(file) for file in (*above, path.resolve()))
        raise ConfigError(f"base: goes round in a circle: {chain}")
    layer = _complete(read_layer(path), path.parent)
    named = layer.values.pop("base", [])
    bases = [named] if isinstance(named, str) else named
    if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
        raise ConfigError(f"base: takes a file or a list of files, not {named!r}\n  {layer.origin(('base',))}")
    below = [read_with_base(_base_file(path, base), (*above, path.resolve())) for base in bases]
    return functools.reduce(merge, [*below, layer])


def _base_file(path: Path, base: str) -> Path:
    file = path.parent / base
    if not os.path.isfile(file):  # False also for a name that no file can have
        raise ConfigError(f"{path}: base: {base} does not exist; it is looked for as {file}")
    return file


def find_file(word: str, *kinds: str) -> Path:
    """Return the YAML file of a word, which is a path or the bare name of a shipped recipe or card.

    Raises:
        ConfigError: there is no such file. The message has the nearest shipped files.
    """
    path = Path(word)
    if os.path.isfile(word):
        return path
    if os.path.exists(word) and not os.path.isdir(word):
        raise ConfigError(f"{path} is not a regular file, as a recipe or card must be")
    shipped = {file.stem: file for kind in kinds or KINDS for file in shipped_files(kind)}
    if word in shipped:
        return shipped[word]
    raise ConfigError(f"there is no recipe or data card {word}{suggest(path.stem, shipped)}")


def shipped_files(kind: str) -> list[Path]:
    """Return the recipes or data cards shipped with visionkit, sorted by name."""
    return sorted(file for file in _share(kind).rglob("*.yaml") if "_base" not in file.parts)


def _share(kind: str) -> Path:
    """Return the folder of shipped recipes or cards: inside the package in a wheel, beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent.parent
    inside = package / "_share" / kind
    return inside if inside.is_dir() else package.parent / kind
