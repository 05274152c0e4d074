"""YAML of untrusted origin gives plain values, or an error that says why it is refused."""

import pytest
import yaml

from visionkit.limited_yaml import MAX_DEPTH, MAX_NODES, parse_yaml, yaml_problem

BOMB = "\n".join(f"a{level}: &a{level} [{', '.join([f'*a{level - 1}' if level else 'x'] * 10)}]" for level in range(7))


def test_values_come_with_their_lines():
    values, lines = parse_yaml("names:\n  0: cat\n  1: dog\nnc: 2\n")
    assert values == {"names": {"0": "cat", "1": "dog"}, "nc": 2}
    assert lines == {("names",): 1, ("names", "0"): 2, ("names", "1"): 3, ("nc",): 4}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [", "this is not YAML"),
        ("!!python/object/apply:os.system [ls]", "the tag"),
        ("a: 1\na: 2", "stands twice"),
        ("&a [*a]", "contains itself"),
        ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), "nested in more than"),
        (BOMB, f"more than {MAX_NODES} values"),
        ("a: " + "x" * 10_001, "characters"),
        ("? [a]\n: b", "a key must be a word"),
    ],
    ids=["syntax", "tag", "repeated key", "circle", "deep", "aliases", "long", "list as key"],
)
def test_what_is_not_plain_is_refused_with_the_reason(text, said):
    with pytest.raises(yaml.YAMLError) as caught:
        parse_yaml(text)
    assert said in yaml_problem(caught.value)
