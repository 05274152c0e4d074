import json
import sys

import pytest

from visionkit.errors import ConfigError
from visionkit.registry import Registry

MODULE = """
from visionkit.registry import Registry
from {package} import things
things.register({names})(object())
"""


@pytest.fixture
def things(tmp_path, monkeypatch):
    """A registry of a package on disk with the modules red, redwood and blue."""
    package = tmp_path / "made_up_things"
    package.mkdir()
    (package / "__init__.py").write_text(
        "from visionkit.registry import Registry\nthings = Registry('thing', 'made_up_things')\n"
    )
    for module, names in {"red": "'red1'", "redwood": "'redwood1'", "blue": "'blue1', 'redwood2'"}.items():
        (package / f"{module}.py").write_text(MODULE.format(package="made_up_things", names=names))
    monkeypatch.syspath_prepend(tmp_path)
    yield __import__("made_up_things").things
    for name in [name for name in sys.modules if name.startswith("made_up_things")]:
        del sys.modules[name]


def imported():
    return {name.partition(".")[2] for name in sys.modules if name.startswith("made_up_things.")}


def test_a_lookup_imports_the_module_that_the_name_begins_with(things):
    things.get("redwood1")
    assert imported() == {"redwood"}


def test_an_entry_of_another_module_is_found_too(things):
    things.get("redwood2")
    assert imported() == {"redwood", "red", "blue"}


def test_all_entries_are_listed(things):
    assert list(things) == ["blue1", "red1", "redwood1", "redwood2"]
    assert len(things) == 4
    assert "red1" in things
    assert 3 not in things


def test_an_unknown_name_is_matched_against_all_entries(things):
    with pytest.raises(ConfigError, match="unknown thing 'blue2'; did you mean blue1"):
        things.get("blue2")


def test_a_name_is_registered_once():
    registry = Registry("thing")
    registry.register("a")(test_all_entries_are_listed)
    with pytest.raises(ConfigError, match=r"'a' is registered twice: in tests\.test_registry and in json"):
        registry.register("a")(json.loads)


def test_a_definition_may_be_registered_again():
    registry = Registry("thing")
    for _ in range(2):  # as a cell of a notebook that is run twice

        @registry.register("a")
        def made():
            return None

    assert registry.get("a") is made
