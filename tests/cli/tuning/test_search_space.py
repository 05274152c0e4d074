import pytest

from visionkit.cli.tuning.search_space import Choices, Range, overrides, parse_space, recipe_values
from visionkit.errors import ConfigError


def test_choices_are_yaml_values_as_words():
    space = parse_space(
        ["model.backbone=resnet18,resnet50", "optimizer.nesterov=true,false", "schedule.milestones=[8,11],[16]"]
    )
    assert space[0] == Choices("model.backbone", ("resnet18", "resnet50"))
    assert space[1] == Choices("optimizer.nesterov", ("true", "false"))
    assert space[2] == Choices("schedule.milestones", ("[8, 11]", "[16]"))


def test_a_string_that_looks_like_another_value_keeps_its_quotes():
    (choices,) = parse_space(["trainer.precision='16',bf16-mixed"])
    assert choices.values == ('"16"', "bf16-mixed")


def test_ranges_have_a_kind_and_ends():
    space = parse_space(["optimizer.lr=log:1e-4:1e-2", "ema.decay=uniform:0.9:0.99", "seed=int:1:4"])
    assert space[0] == Range("optimizer.lr", "log", 1e-4, 1e-2)
    assert space[1].kind == "uniform"
    assert space[2].examples == ("1", "4")


def test_drawn_numbers_have_three_digits_and_stay_in_the_range():
    (lr,) = parse_space(["optimizer.lr=log:0.0012345:0.0098765"])
    assert lr.text(0.00456789) == "0.00457"
    assert lr.text(0.0012345) == "0.0012345"
    assert lr.text(0.0098765) == "0.0098765"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["optimizer.lr"], "give KEY=a,b,c"),
        (["optimizer.lr=0.1"], "has one value"),
        (["optimizer.lr=[1"], "no YAML"),
        (["optimizer.lr=log:1:x"], "must be numbers"),
        (["seed=int:1.5:4"], "must be whole numbers"),
        (["optimizer.lr=log:0:1"], "must be above 0"),
        (["optimizer.lr=uniform:2:1"], "must rise"),
        (["optimizer.lr=uniform:0:inf"], "must rise"),
        (["seed=1,2", "seed=3,4"], "given twice"),
        (["evaluation.metric=coco,voc2007"], "changes what is scored"),
        (["data.splits.val.count=1,2"], "changes what is scored"),
        (["trainer.max_epochs=1,2"], "the same budget"),
        (["trainer.limit_val_batches=1,2"], "changes what is scored"),
        (["trainer.overfit_batches=1,2"], "changes what is scored"),
        (["trainer={max_epochs: 1},{max_epochs: 2}"], "vary single keys of trainer"),
        (["data={root: a},{root: b}"], "data.format in it must be the same in all trials"),
        (["optimizer..lr=1,2"], "form key=value"),
    ],
)
def test_mistakes_are_named(words, message):
    with pytest.raises(ConfigError, match=message) as raised:
        parse_space(words)
    assert len(str(raised.value).splitlines()) <= 5


def test_the_values_of_the_recipe_are_found_in_the_space():
    space = parse_space(["optimizer.lr=log:1e-4:1e-2", "model.backbone=resnet18,resnet50", "data.augment.0.p=0.5,0.1"])
    recipe = {
        "optimizer": {"lr": 0.001},
        "model": {"backbone": {"name": "resnet50"}},
        "data": {"augment": [{"name": "HorizontalFlip", "p": 0.5}]},
    }
    drawn = recipe_values(space, recipe)
    assert overrides(space, drawn) == ["optimizer.lr=0.001", "model.backbone=resnet50", "data.augment.0.p=0.5"]
    assert recipe_values(space, {**recipe, "optimizer": {"lr": 0.5}}) is None
    assert recipe_values(space, {**recipe, "optimizer": {}}) is None


def test_null_is_a_value_of_the_recipe_and_a_missing_key_is_none():
    space = parse_space(["trainer.gradient_clip_val=null,1.0"])
    assert overrides(space, recipe_values(space, {"trainer": {"gradient_clip_val": None}})) == [
        "trainer.gradient_clip_val=null"
    ]
    assert recipe_values(space, {"trainer": {}}) is None
