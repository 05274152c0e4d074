import os
import time
from pathlib import Path

import pytest
import yaml

from visionkit.cli.config.compose import is_override
from visionkit.cli.config.merge import merge, override_layer, read_layer
from visionkit.errors import ConfigError


def write(path, text):
    path.write_text(text)
    return path


def test_values_know_where_they_stand(tmp_path):
    path = write(tmp_path / "a.yaml", "model:\n  name: x\n  sizes: [[1], [2]]\nlr: 1e-4\n")
    layer = read_layer(path)
    assert layer.values == {"model": {"name": "x", "sizes": [[1], [2]]}, "lr": 1e-4}
    assert layer.origin(("model", "sizes")) == f"{path}:3"
    assert layer.origin(("model", "sizes", "deeper")) == f"{path}:3"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2\n", ":2: the key 'a' stands twice"),
        ("a: [1\n", "is not YAML"),
        ("- a\n", "key: value"),
        ("a: !!python/object/apply:os.system [ls]\n", ":1: the tag .* is not allowed"),
        ("a: !!python/name:os.system\n", "is not YAML"),
        ("a: !!set {b}\n", "is not allowed"),
        ("a:\n- {b: 1, b: 2}\n", ":2: the key 'b' stands twice"),
        ("a: 1\n? [b]\n: 2\n", ":2: a key must be a word"),
        ("a: &a\n  b: *a\n", ":1: this part contains itself"),
        ("a: !!timestamp 2020-13-45\n", ":1: month must be"),
        ("a: 1\n---\nb: 2\n", "another document"),
        ("a: \x00\n", "is not YAML: special characters"),
    ],
)
def test_files_that_cannot_be_used_are_refused(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        read_layer(write(tmp_path / "a.yaml", text))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        read_layer(tmp_path / "gone.yaml")


@pytest.mark.parametrize(
    ("word", "values"),
    [
        ("a.b=3", {"a": {"b": 3}}),
        ("a=[1, 2]", {"a": [1, 2]}),
        ("a=1e-3", {"a": 1e-3}),
        ("a.root=/x=y", {"a": {"root": "/x=y"}}),
        ("a={b: {c: null}}", {"a": {"b": {"c": None}}}),
        ("a=", {"a": None}),
    ],
)
def test_overrides_are_read_as_yaml(word, values):
    layer = override_layer(word)
    assert layer.values == values
    path = tuple(word.partition("=")[0].split("."))
    assert layer.origin(path) == "the command line"


def test_an_override_s_value_is_checked_like_a_file():
    with pytest.raises(ConfigError, match="'x' stands twice"):
        override_layer("a={x: 1, x: 2}")
    with pytest.raises(ConfigError, match=r"'a=\[1': this is not YAML"):
        override_layer("a=[1")


def test_anchors_and_merge_keys_are_read_as_yaml_means_them(tmp_path):
    text = "a: &a {x: 1, y: 2}\nb:\n  <<: *a\n  y: 3\nc: *a\n"
    layer = read_layer(write(tmp_path / "a.yaml", text))
    assert layer.values == yaml.safe_load(text)
    assert layer.origin(("b", "y")).endswith(":4")


def test_words_stay_words(tmp_path):
    text = "on: 2020-01-02\n7: x\n"
    assert read_layer(write(tmp_path / "a.yaml", text)).values == {"on": "2020-01-02", "7": "x"}


def test_elements_of_lists_know_where_they_stand(tmp_path):
    layer = read_layer(write(tmp_path / "a.yaml", "a:\n- x: 1\n  y: 2\n- 3\n"))
    assert [layer.origin(("a", *path)).rpartition(":")[2] for path in [("0", "y"), ("1",)]] == ["3", "4"]


def test_an_override_without_key_is_refused():
    with pytest.raises(ConfigError, match="key=value"):
        override_layer("=3")


def test_mappings_merge_and_the_rest_is_replaced():
    lower, upper = override_layer("a={x: 1, y: [1, 2]}"), override_layer("a={y: [3], z: 4}")
    assert merge(lower, upper).values == {"a": {"x": 1, "y": [3], "z": 4}}
    assert lower.values == {"a": {"x": 1, "y": [1, 2]}}, "merging changes neither layer"


def test_numbers_reach_into_lists():
    lower = override_layer("a=[{x: 1, y: 2}, {x: 3}]")
    assert merge(lower, override_layer("a.0.y=5")).values == {"a": [{"x": 1, "y": 5}, {"x": 3}]}
    assert merge(lower, override_layer("a.1=7")).values == {"a": [{"x": 1, "y": 2}, 7]}
    assert merge(lower, override_layer("a={b: 1}")).values == {"a": {"b": 1}}
    with pytest.raises(ConfigError, match="element 2 is not in a list of 2"):
        merge(lower, override_layer("a.2.x=1"))
    assert lower.values == {"a": [{"x": 1, "y": 2}, {"x": 3}]}, "merging changes neither layer"


ALIASES = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}, *a{n - 1}]\n" for n in range(1, 40))
MERGES = "a0: &a0 {k: 1}\n" + "".join(f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}], k{n}: 1}}\n" for n in range(1, 40))
WIDE = f"a: &a {{{', '.join(f'k{n}: 1' for n in range(900))}}}\n" + "".join(
    f"b{n}: {{<<: [{', '.join(['*a'] * 99)}]}}\n" for n in range(99)
)
BOMBS = {
    "aliases": (ALIASES, "more than 50000 values"),
    "wide merges": (WIDE, "more than 50000 values"),
    "long merge": ("a: &a {k: 1}\nb: {<<: [" + "*a, " * 101 + "]}\n", "<< takes at most 100 mappings"),
    "deep lists": ("a: " + "[" * 5000 + "]" * 5000, "nested in more than 50"),
    "deep mappings": ("{a: " * 5000 + "1" + "}" * 5000, "nested in more than 50"),
    "deep block": ("- " * 3000 + "x", "nested in more than 50"),
    "long value": ("a: " + "x" * 500_000, "at most 10000 are allowed"),
    "long number": ("a: " + "9" * 9000, "limit"),
    "long sexagesimal": ("a: 1" + ":11" * 100_000, "at most 10000 are allowed"),
    "large file": ("# " + "x" * 2**20 + "\n", "a recipe or card has at most"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_files_that_would_fill_the_memory_are_refused_at_once(name, tmp_path):
    text, message = BOMBS[name]
    path = tmp_path / "bomb.yaml"
    path.write_text(text)
    before = time.process_time()
    with pytest.raises(ConfigError, match=message) as error:
        read_layer(path)
    assert time.process_time() - before < 5  # below 1 s on an idle machine
    assert len(str(error.value)) < 300


def test_merges_of_merges_read_each_key_once(tmp_path):
    path = tmp_path / "merges.yaml"
    path.write_text(MERGES)
    assert len(read_layer(path).values["a39"]) == 40


def test_a_card_that_is_no_regular_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "fifo.yaml")
    for path in (tmp_path / "fifo.yaml", Path("/dev/zero")):
        with pytest.raises(ConfigError, match="is not a regular file"):
            read_layer(path)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        (".".join(["a"] * 5000) + "=1", "nested in more than 50"),
        ("a=" + "[" * 5000, "nested in more than 50"),
        ("a=" + "x" * 50_000, "at most 10000"),
    ],
)
def test_overrides_have_the_same_limits(word, message):
    with pytest.raises(ConfigError, match=message) as error:
        override_layer(word)
    assert len(str(error.value)) < 300


def test_a_long_override_is_an_override():
    assert is_override("data.classes=[" + "person, " * 200 + "]")
