import copy
from dataclasses import dataclass, field
from typing import Any, Literal

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import Timer
from lightning.pytorch.loggers import CSVLogger

from visionkit.cli.config.merge import WrongValueError
from visionkit.cli.config.typed_options import call, instantiate, parse_section
from visionkit.errors import CheckpointError, ConfigError


@dataclass
class Inner:
    share: float = 0.5


@dataclass
class Options:
    name: Literal["a", "b"]
    count: int = 3
    sizes: list[float] = field(default_factory=list)
    inner: Inner | None = None


def open_ended(name: str, count: int = 1, **options: Any) -> dict[str, Any]:
    return {"name": name, "count": count, **options}


def test_values_get_the_types_of_the_code():
    made = instantiate(Options, {"name": "a", "sizes": [1, 2.5], "inner": {"share": 1}}, "options")
    assert made == Options("a", 3, [1.0, 2.5], Inner(1.0))
    assert isinstance(made.sizes[0], float)


@dataclass(frozen=True)
class Group:
    ratios: tuple[float, ...] = (1.0,)
    number: int = 3


class WithGroup:
    def __init__(self, *, group: Group = Group(number=7)) -> None:
        self.group = group


def test_missing_options_of_a_group_keep_the_defaults_of_the_class():
    assert instantiate(WithGroup, {"group": {"ratios": [0.5, 2]}}, "model").group == Group((0.5, 2.0), 7)
    assert instantiate(WithGroup, {}, "model").group == Group(number=7)
    with pytest.raises(WrongValueError, match=r"model\.group\.number is 'x'"):
        instantiate(WithGroup, {"group": {"number": "x"}}, "model")


def test_what_is_given_needs_no_recipe():
    assert parse_section(Options, None, "options", name="b")["name"] == "b"


def test_a_function_with_open_options_gets_them_as_they_are():
    assert instantiate(open_ended, {"name": "x", "rate": [0.1]}, "x") == {"name": "x", "count": 1, "rate": [0.1]}
    with pytest.raises(ConfigError, match=r"x\.count is 'many', and must be: int"):
        instantiate(open_ended, {"name": "x", "count": "many", "rate": 1}, "x")


@pytest.mark.parametrize(
    ("values", "message", "path"),
    [
        ({"name": "a", "count": "many"}, "options.count is 'many', and must be: int", ("options", "count")),
        ({"name": "a", "count": 1.5}, "options.count is 1.5, and must be: int", ("options", "count")),
        ({"name": "c"}, r"options.name is 'c', and must be: Literal\['a', 'b'\]", ("options", "name")),
        ({"name": "a", "sizes": 3}, "options.sizes is 3, and must be: list", ("options", "sizes")),
        ({"name": "a", "inner": 3}, "options.inner is 3, and must be: .*Inner", ("options", "inner")),
        ({}, "name", ("options",)),
        ({"name": "a", "cuont": 3}, "cuont", ("options",)),
    ],
)
def test_wrong_values_are_explained(values, message, path):
    with pytest.raises(WrongValueError, match=message) as error:
        instantiate(Options, values, "options")
    assert error.value.path == path
    assert len(str(error.value).splitlines()) <= 4, "a line is left for the place"


@dataclass
class Checked:
    name: str = "a"
    share: float = 0.5

    def __post_init__(self) -> None:
        if self.name != "a":
            raise ConfigError(f"unknown thing {self.name!r}; did you mean a?")
        if self.share > 1:
            raise ConfigError(f"share={self.share} must be at most 1")
        if self.share < 0:
            raise ConfigError("what is asked for is impossible")


@pytest.mark.parametrize(
    ("values", "message", "path"),
    [
        ({"name": "b"}, "options.name: unknown thing 'b'; did you mean a?", ("options", "name")),
        ({"share": 2.0}, "options.share=2.0 must be at most 1", ("options", "share")),
        ({"share": -1.0}, "what is asked for is impossible", ("options",)),
    ],
)
def test_errors_of_library_code_get_the_key_of_the_recipe(values, message, path):
    with pytest.raises(WrongValueError) as error:
        instantiate(Checked, values, "options")
    assert (str(error.value), error.value.path) == (message, path)


def test_callbacks_and_loggers_are_made_and_the_recipe_stays_as_it_was():
    values = {
        "max_epochs": 2,
        "callbacks": [{"class_path": "lightning.pytorch.callbacks.Timer", "init_args": {"duration": "00:00:01:00"}}],
        "logger": {"class_path": "lightning.pytorch.loggers.CSVLogger", "init_args": {"save_dir": "x"}},
    }
    before = copy.deepcopy(values)
    arguments = parse_section(pl.Trainer, values, "trainer")
    assert isinstance(arguments["callbacks"][0], Timer)
    assert isinstance(arguments["logger"], CSVLogger)
    assert arguments["max_epochs"] == 2
    assert values == before, "the recipe goes into the checkpoint, which holds primitives only"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"class_path": "lightning.pytorch.callbacks.Timre"}, "Timre cannot be made: .* has no attribute 'Timre'"),
        ({"class_path": "EarlyStopping"}, "EarlyStopping cannot be made: .* required: monitor"),
        (
            {"class_path": "lightning.pytorch.callbacks.Timer", "init_args": {"dur": 1}},
            "Timer cannot be made: .*'dur' is not accepted",
        ),
    ],
)
def test_callbacks_that_cannot_be_made_say_why(values, message):
    with pytest.raises(WrongValueError, match=message) as error:
        parse_section(pl.Trainer, {"callbacks": [values]}, "trainer")
    assert str(error.value).startswith("trainer.callbacks")
    assert len(str(error.value).splitlines()) <= 4


@pytest.mark.parametrize(
    ("values", "message"),
    [({"accelerator": "banana"}, "invalid accelerator name"), ({"max_epochs": -5}, "max_epochs")],
)
def test_values_that_the_code_refuses_are_a_mistake_of_the_recipe(values, message):
    with pytest.raises(WrongValueError, match=f"trainer cannot be used:\n.*{message}") as error:
        call(pl.Trainer, values, "trainer")
    assert error.value.path == ("trainer",)
    assert len(str(error.value).splitlines()) <= 4


class Free:
    def __init__(self, values: dict[str, Any], entries: list[dict[str, Any]] | None = None) -> None:
        self.values, self.entries = values, entries


CALL = {"class_path": "pathlib.Path.touch", "init_args": {"self": "called"}}


@pytest.mark.parametrize("call", [CALL, str(CALL), {**CALL, "class_path": "os.mkdir", "init_args": {"path": "called"}}])
def test_a_value_of_any_type_is_passed_on_and_nothing_in_it_is_called(call, tmp_path, monkeypatch):
    """jsonargparse would call what `class_path` names. A recipe in a foreign checkpoint could then run any code."""
    monkeypatch.chdir(tmp_path)
    made = instantiate(Free, {"values": {"a": call}, "entries": [{"b": [call]}]}, "data")
    assert (made.values, made.entries) == ({"a": call}, [{"b": [call]}])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"values": [1]}, "data.values is [1], and must be: dict[str, Any]"),
        ({"values": {}, "entries": [3]}, "data.entries is [3], and must be: list[dict[str, Any]] | None"),
    ],
)
def test_the_outer_type_of_such_a_value_is_checked(values, message):
    with pytest.raises(WrongValueError) as error:
        instantiate(Free, values, "data")
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": "a", "count": None}, "options.count is null, and must be: int"),
        ({"name": None}, "options.name is null, and must be: Literal['a', 'b']"),
        ({"name": "a", "inner": {"share": 10**400}}, "options"),
        ([{"name": "a"}], "options must hold keys, not [{'name': 'a'}]"),
        ("a", "options must hold keys, not 'a'"),
    ],
)
def test_null_huge_integers_and_other_types_than_mappings_are_refused(values, message):
    with pytest.raises(WrongValueError) as error:
        instantiate(Options, values, "options")
    assert str(error.value).startswith(message)
    assert instantiate(Options, {"name": "a", "inner": None}, "options").inner is None


def test_a_network_that_does_not_fit_into_the_memory_is_a_wrong_value():
    def network(channels: int) -> torch.Tensor:
        return torch.empty(channels, channels)

    with pytest.raises(WrongValueError, match=r"model cannot be used:\n.*memory"):
        instantiate(network, {"channels": 2**30}, "model")


def test_an_error_with_its_own_advice_stays_as_it_is():
    def network() -> None:
        raise CheckpointError("download it")

    with pytest.raises(CheckpointError, match=r"^download it$"):
        instantiate(network, {}, "model")
