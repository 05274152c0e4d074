import pytest

from visionkit.cli.layers import merge, override_layer, read_layer
from visionkit.errors import RecipeError


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
        ("a: !!python/object/apply:os.system [ls]\n", "is not YAML"),
    ],
)
def test_files_that_cannot_be_used_are_refused(tmp_path, text, message):
    with pytest.raises(RecipeError, match=message):
        read_layer(write(tmp_path / "a.yaml", text))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(RecipeError, match="cannot be read"):
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


def test_an_override_without_key_is_refused():
    with pytest.raises(RecipeError, match="key=value"):
        override_layer("=3")


def test_mappings_merge_and_the_rest_is_replaced():
    lower, upper = override_layer("a={x: 1, y: [1, 2]}"), override_layer("a={y: [3], z: 4}")
    assert merge(lower, upper).values == {"a": {"x": 1, "y": [3], "z": 4}}
    assert lower.values == {"a": {"x": 1, "y": [1, 2]}}, "merging changes neither layer"
