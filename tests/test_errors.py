import pickle

import pytest

from visionkit.errors import ConfigError, DataError, VisionkitError


@pytest.mark.parametrize(
    ("name", "shown"),
    [("a\x1b[2J.png", r"a\x1b[2J.png"), ("a\0b", r"a\x00b"), ("a\x9b1m", r"a\x9b1m"), ("é\t😀", "é\t😀")],
)
def test_control_characters_of_a_name_are_shown_as_escapes(name, shown):
    """Otherwise a file name could clear the terminal or write other text onto it."""
    assert str(DataError(f"the image {name} is broken\nremove it")) == f"the image {shown} is broken\nremove it"


def test_start_and_end_of_a_long_line_are_kept():
    message = str(ConfigError("unknown key " + "x" * 20_000 + "; did you mean lr?\n  recipe.yaml:3"))
    first, second = message.splitlines()
    assert first.startswith("unknown key xxx")
    assert first.endswith("xxx; did you mean lr?")
    assert len(first) < 650
    assert second == "  recipe.yaml:3"


def test_an_error_of_a_loader_process_arrives_with_its_message():
    """It is pickled there, and raised again with its traceback as message."""
    error = pickle.loads(pickle.dumps(VisionkitError("a\x1bb")))
    assert str(error) == r"a\x1bb"
    text = "Caught DataError in DataLoader worker process 0.\nTraceback ...\nvisionkit.errors.DataError: a is broken"
    assert str(DataError(text)) == "a is broken"
