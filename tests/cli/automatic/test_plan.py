"""A recipe with the reasons of its settings."""

from visionkit.cli.automatic.plan import Plan, Setting

STEPS = [{"name": "RandomCrop", "height": 8, "width": 8}, {"name": "HorizontalFlip"}]


def test_settings_become_nested_values():
    plan = Plan("r", "why", [Setting("a.b", 1, "x"), Setting("a.c.d", [2], "y"), Setting("e", None, "z")])
    assert plan.values() == {"a": {"b": 1, "c": {"d": [2]}}, "e": None}


def test_each_setting_has_a_line_with_its_reason():
    settings = [Setting("a.b", 0.5, "half"), Setting("m", True, "yes"), Setting("data.augment", STEPS, "crops")]
    assert list(Plan("r", "why", settings).lines()) == [
        "recipe r: why",
        "a.b=0.5: half",
        "m=true: yes",
        "data.augment=[RandomCrop, HorizontalFlip]: crops",
    ]
