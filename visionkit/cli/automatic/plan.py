"""Recipe that rules make for a card, with a reason for each of its settings."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Setting(NamedTuple):
    """Setting of a recipe, such as ("data.batch_size", 8, "it fits into the memory")."""

    key: str
    value: Any
    reason: str


@dataclass(frozen=True)
class Plan:
    """Recipe for a card.

    Attributes:
        recipe: name of the shipped recipe that is the start.
        reason: why it was chosen.
        settings: settings that differ from those of the recipe.

    Example:
        >>> from visionkit.cli.automatic.plan import Plan, Setting
        >>> plan = Plan("unet_efficientnet_lite0", "the card has masks", [Setting("data.batch_size", 8, "few images")])
        >>> plan.values()
        {'data': {'batch_size': 8}}
    """

    recipe: str
    reason: str
    settings: list[Setting] = field(default_factory=list)

    def values(self) -> dict[str, Any]:
        """Return the settings as nested mappings."""
        values: dict[str, Any] = {}
        for setting in self.settings:
            *sections, name = setting.key.split(".")
            inner = values
            for section in sections:
                inner = inner.setdefault(section, {})
            inner[name] = setting.value
        return values

    def lines(self) -> Iterator[str]:
        """Yield one line with the reason of each setting."""
        yield f"recipe {self.recipe}: {self.reason}"
        for key, value, reason in self.settings:
            yield f"{key}={_shown(value)}: {reason}"


def _shown(value: Any) -> str:
    """Return a value as it is written on the command line; of the steps of an augmentation only the names."""
    if isinstance(value, list) and value and all(isinstance(step, dict) for step in value):
        return f"[{', '.join(str(step.get('name')) for step in value)}]"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)
