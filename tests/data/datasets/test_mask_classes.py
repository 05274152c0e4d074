import pytest

from visionkit.data.datasets.mask_classes import (
    classes_by_color,
    classes_by_value,
    first_colors,
    first_values,
    resolve_class_names,
)
from visionkit.errors import ConfigError


def test_classes_are_those_listed_or_in_the_order_of_values_or_colors():
    values = {5: "b", 7: "ignore", 9: "a", 11: "b"}
    assert resolve_class_names(values, None, None) == ["b", "a"]
    assert resolve_class_names(values, None, ["a", "b"]) == ["a", "b"]
    assert resolve_class_names(None, {"z": [1, 2, 3], "ignore": [0, 0, 0], "y": [4, 5, 6]}, None) == ["z", "y"]


def test_values_have_the_meaning_that_the_card_gives_them_whatever_type_the_keys_have():
    meanings = classes_by_value({5: "b", "7": "ignore", 9: "a", 11: "b"}, ["a", "b"])
    assert meanings == {5: 1, 7: 255, 9: 0, 11: 1}
    assert first_values(meanings, 2) == [9, 5]


def test_where_no_value_names_a_class_they_are_numbered_in_order():
    assert classes_by_value(None, ["a", "b"]) == {0: 0, 1: 1}
    assert classes_by_value({11: "ignore"}, ["a", "b"]) == {0: 0, 1: 1, 11: 255}
    assert first_values({0: 0, 1: 1}, 2) == [0, 1]


def test_colors_may_be_several_for_a_class_and_the_first_draws_it():
    meanings = classes_by_color({"a": [[1, 1, 1], [2, 2, 2]], "ignore": [0, 0, 0], "b": [3, 3, 3]}, ["b", "a"])
    assert meanings == {(1, 1, 1): 1, (2, 2, 2): 1, (0, 0, 0): 255, (3, 3, 3): 0}
    assert first_colors(meanings, 2) == [(3, 3, 3), (1, 1, 1)]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: resolve_class_names(None, None, None), "the class names are unknown"),
        (lambda: resolve_class_names({0: "ignore"}, None, None), "the class names are unknown"),
        (lambda: resolve_class_names({0: "car", 1: "rode"}, None, ["car", "road"]), "'rode'; did you mean road"),
        (lambda: resolve_class_names({0: "car"}, None, ["car", "road"]), "values has no entry for road"),
        (lambda: resolve_class_names({0: "car", 1: "road"}, {"car": [1, 2, 3]}, None), "colors has no entry for road"),
        (lambda: classes_by_value({0: "ignore"}, ["a", "b"]), "ignores 0, which would be the class 'a'"),
        (lambda: classes_by_value({-1: "a"}, ["a"]), "-1 must be an integer from 0 to 65535"),
        (lambda: classes_by_value({"x": "a"}, ["a"]), "'x' must be an integer"),
        (lambda: classes_by_value({65536: "a"}, ["a"]), "65536 must be an integer"),
        (lambda: classes_by_color({"a": [0, 0, 256]}, ["a"]), "a must be"),
        (lambda: classes_by_color({"a": [0, 0]}, ["a"]), "a must be"),
        (lambda: classes_by_color({"a": [0, 0, 1], "b": [[0, 0, 1]]}, ["a", "b"]), "occurs twice, .* for 'b'"),
    ],
)
def test_contradictions_are_named(call, message):
    with pytest.raises(ConfigError, match=message):
        call()


@pytest.mark.parametrize("given", [[[1, 2, 3], 0.5], [1, 2], [[1, 2, 3], None], "red", []])
def test_a_malformed_color_is_refused(given):
    with pytest.raises(ConfigError, match="sky must be"):
        classes_by_color({"sky": given}, ["sky"])
