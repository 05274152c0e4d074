"""Damaged words of the command line: `key=value` with any key of a recipe or card, and other words."""

import functools

from tests.robustness.boundary import command
from tests.robustness.cases import Kind
from tests.robustness.cases.cards import CARDS, card, write_data
from tests.robustness.cases.recipes import BASE, RECIPE, SEGMENTATION, TEXTS, few
from tests.robustness.cases.recipes import run as run_fit
from tests.robustness.mutations import HOSTILE, YAML_VALUES, mutated_text, shown_in_yaml
from tests.robustness.mutations import TEXTS as HOSTILE_TEXTS
from visionkit.cli.config.compose import compose
from visionkit.cli.config.schema import recipe_section

PLAIN = [
    "0",
    "1",
    "2",
    "-1",
    "0.5",
    "true",
    "[1, 2]",
    "[0.5, 1, 2]",
    "{}",
    "[]",
    "{name: x}",
    "all",
    "auto",
    "null",
    "x",
    "1e-3",
]
WORDS = [
    "=",
    "a=",
    "=a",
    ".=1",
    "a..b=1",
    "a.b",
    "",
    "-",
    "--",
    "---",
    "--debug",
    "--resume",
    "--plugin",
    "--help=1",
    *HOSTILE_TEXTS,
]


@functools.cache
def keys_of(text):
    """Return the dotted keys that a recipe may have."""
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "b.yaml").write_text(BASE)
        (Path(folder) / RECIPE).write_text(text)
        return sorted(set(_keys(recipe_section(compose([f"{folder}/{RECIPE}"])), ())))


def _keys(section, path):
    for name, inner in section.keys.items():
        yield ".".join((*path, name))
        if inner is not None:
            yield from _keys(inner, (*path, name))


def prepare(rng, folder):
    if rng.random() < 0.25:
        return prepare_card(rng, folder)
    text = rng.choice(TEXTS)
    (folder / "b.yaml").write_text(BASE)
    (folder / RECIPE).write_text(text)
    words = [damaged(rng, keys_of(text)) for _ in range(rng.choice([1, 1, 2]))]
    way = rng.choice(["compose", "build", "build", "build", "fit"])
    bounds = few(text is SEGMENTATION)
    if way == "fit":  # the bounds apply last, so that the run stays short
        return [way, RECIPE, *words, *bounds]
    return [way, RECIPE, *bounds, *words]


def prepare_card(rng, folder):
    write_data(folder)
    data_format = rng.choice([name for name in CARDS if name != "shapes"])
    (folder / "card.yaml").write_text(card(data_format))
    keys = [
        "data.root",
        "data.format",
        "data.classes",
        "data.splits.train.annotations",
        "data.splits.val",
        "data.download",
    ]
    keys += ["data.splits.train.on_bad_file", "data.splits.train.path", "data.holdout.fraction", "data.download.0.url"]
    return ["check", "card.yaml", damaged(rng, keys)]


def damaged(rng, keys):
    """Return a word of the command line, which can hold neither NUL nor half a surrogate pair."""
    choice = rng.random()
    key = rng.choice(keys)
    if choice < 0.05:
        word = rng.choice(WORDS)
    elif choice < 0.15:
        word = f"{mutated_text(rng, key)}={rng.choice(PLAIN)}"
    elif choice < 0.5:
        word = f"{key}={rng.choice(PLAIN)}"
    else:
        word = f"{key}={rng.choice([*YAML_VALUES, *map(shown_in_yaml, HOSTILE)])}"
    return word.replace("\0", "").encode(errors="ignore").decode()


def run(way, *words):
    if way == "check":
        command(["data", "check", *words])
    else:
        run_fit(way, *words)


KIND = Kind(prepare, run)
