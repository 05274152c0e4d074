"""From the words after `fit` to one recipe: base, recipe, cards, `for:` sections, overrides."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from visionkit.cli.config.catalogue import registered
from visionkit.cli.config.layers import KeyPath, Layer, merge, override_layer, read_layer
from visionkit.errors import ConfigError
from visionkit.registry import suggest

DEFAULT_CARD = "shapes"


def compose(words: Sequence[str], onto: dict[str, Any] | None = None) -> Layer:
    """Lay files and overrides over each other, from left to right.

    Args:
        words: paths or bare names of recipes and cards, and `key=value` overrides, in any order.
        onto: the recipe inside a checkpoint to start from, see `from_checkpoint`.

    Returns:
        The composed recipe; where nothing names a data format, `data/shapes.yaml` lies below the overrides.

    Raises:
        ConfigError: a file is missing or wrong, or `base:` goes round in circles.
    """
    overrides = [with_named_backbone(override_layer(word)) for word in words if is_override(word)]
    layer = Layer(from_checkpoint(onto or {}))
    for word in words:
        if not is_override(word):
            layer = with_card(layer, read_with_base(find_file(word)))
    if not any("format" in section(given, "data") for given in (layer, *overrides)):
        layer = merge(layer, read_with_base(find_file(DEFAULT_CARD, "data")))
    for given in overrides:
        if section(given, "data").get("format") not in (None, section(layer, "data").get("format")):
            layer = without_data_source(layer)
    names = functools.reduce(merge, overrides, only(layer, "task", "model"))
    return functools.reduce(merge, overrides, with_matching_sections(layer, names))


def from_checkpoint(recipe: dict[str, Any]) -> dict[str, Any]:
    """What counts of the recipe inside a checkpoint when its network is scored: all but the trainer, save precision.

    Devices, limits and callbacks belong to the run that is over. Above all a checkpoint may come from anywhere, and
    the class paths among them would be imported and run.
    """
    trainer = {key: value for key, value in (recipe.get("trainer") or {}).items() if key == "precision"}
    return {**recipe, "trainer": trainer} if "trainer" in recipe else dict(recipe)


def is_override(word: str) -> bool:
    """Whether a word is `key=value` rather than a file."""
    return "=" in word and not Path(word).exists()


def section(layer: Layer, *path: str) -> dict[str, Any]:
    """The mapping at `path` of a layer; empty where there is none.

    Raises:
        ConfigError: something else stands there.
    """
    found: dict[str, Any] = layer.values
    for at, key in enumerate(path, start=1):
        found = found.get(key) or {}
        if not isinstance(found, dict):
            where = layer.origin(path[:at])
            raise ConfigError(f"{'.'.join(path[:at])} must hold `key: value` lines, not {found!r}\n  {where}")
    return found


def only(layer: Layer, *keys: str) -> Layer:
    """The layer with no more than these sections."""
    return Layer({key: value for key, value in layer.values.items() if key in keys}, layer.origins)


def with_card(layer: Layer, card: Layer) -> Layer:
    """A recipe or data card laid over a layer; one that names a data format brings all there is to say of its files."""
    return merge(without_data_source(layer) if "format" in section(card, "data") else layer, card)


def without_data_source(layer: Layer) -> Layer:
    """The layer without what an earlier card said of its files: another format has other options."""
    source = ("format", "root", "splits", "classes", "download")
    data = {key: value for key, value in section(layer, "data").items() if key not in source}
    return Layer({**layer.values, "data": data}, layer.origins)


def with_matching_sections(layer: Layer, names: Layer) -> Layer:
    """The layer with its `for:` sections laid over it that are meant for `names`.

    Their keys are a task ("segmentation"), a model ("unet"), or a model on one backbone ("unet/resnet50").
    """
    result = Layer({key: value for key, value in layer.values.items() if key != "for"}, layer.origins)
    named = with_named_backbone(names)
    model, backbone = (section(named, *path).get("name") for path in (("model",), ("model", "backbone")))
    for name in (named.values.get("task"), model, f"{model}/{backbone}"):
        if isinstance(name, str):
            origins = {path[2:]: where for path, where in layer.origins.items() if path[:2] == ("for", name)}
            result = merge(result, with_named_backbone(Layer(section(layer, "for", name), origins)))
    return result


def check_for_sections(layer: Layer) -> None:
    """Refuse `for:` sections that would never be looked at.

    Raises:
        ConfigError: a section is for a task or model that does not exist, or holds no keys.
    """
    known = {*registered("tasks"), *registered("models")}
    for name in section(layer, "for"):
        if name.partition("/")[0] not in known:
            raise ConfigError(
                f"for: {name!r} is no task or model{suggest(name, known)}\n  {layer.origin(('for', name))}"
            )
        section(layer, "for", name)


def with_named_backbone(layer: Layer) -> Layer:
    """`model.backbone: name` written out as `model.backbone.name: name`."""
    model = layer.values.get("model")
    if not isinstance(model, dict) or not isinstance(model.get("backbone"), str):
        return layer
    values = {**layer.values, "model": {**model, "backbone": {"name": model["backbone"]}}}
    path: KeyPath = ("model", "backbone")
    return Layer(values, {**layer.origins, (*path, "name"): layer.origin(path)})


def read_with_base(path: Path, above: tuple[Path, ...] = ()) -> Layer:
    """A file laid over the files that its `base:` names, relative to itself.

    Raises:
        ConfigError: a file is missing or wrong, or `base:` goes round in a circle.
    """
    if path.resolve() in above:
        chain = " -> ".join(str(file) for file in (*above, path.resolve()))
        raise ConfigError(f"base: goes round in a circle: {chain}")
    layer = with_named_backbone(read_layer(path))
    named = layer.values.pop("base", [])
    bases = [named] if isinstance(named, str) else named
    if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
        raise ConfigError(f"base: takes a file or a list of files, not {named!r}\n  {layer.origin(('base',))}")
    check_for_sections(layer)
    below = [read_with_base(_base_file(path, base), (*above, path.resolve())) for base in bases]
    return functools.reduce(merge, [*below, layer])


def _base_file(path: Path, base: str) -> Path:
    file = path.parent / base
    if not file.is_file():
        raise ConfigError(f"{path}: base: {base} does not exist; it is looked for as {file}")
    return file


def find_file(word: str, *kinds: str) -> Path:
    """The YAML file that a word means: a path, or the bare name of a shipped recipe or card.

    Raises:
        ConfigError: there is none; names the nearest shipped ones.
    """
    path = Path(word)
    if path.is_file():
        return path
    shipped = {file.stem: file for kind in kinds or ("recipes", "data") for file in shipped_files(kind)}
    if word in shipped:
        return shipped[word]
    raise ConfigError(f"there is no recipe or data card {word}{suggest(path.stem, shipped)}")


def shipped_files(kind: str) -> list[Path]:
    """The recipes or data cards that come with visionkit, in order of their names."""
    return sorted(file for file in _share(kind).rglob("*.yaml") if "_base" not in file.parts)


def _share(kind: str) -> Path:
    """Folder of the shipped recipes or cards: inside the package in a wheel, beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent.parent
    inside = package / "_share" / kind
    return inside if inside.is_dir() else package.parent / kind
