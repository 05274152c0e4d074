"""Range checks that option groups share."""

from visionkit.errors import ConfigError


def check_at_least_one(group: str, **values: int) -> None:
    """Raise ConfigError if an option of the `group` is below 1."""
    for name, value in values.items():
        if value < 1:
            raise ConfigError(f"{group}: {name}={value} must be at least 1")


def check_within_one(group: str, **values: float) -> None:
    """Raise ConfigError if an option of the `group` is outside 0..1."""
    for name, value in values.items():
        if not 0 <= value <= 1:
            raise ConfigError(f"{group}: {name}={value} must be within 0..1")


def check_rising(group: str, **values: float) -> None:
    """Raise ConfigError unless 0 <= first <= second <= ... <= 1 for the options of the `group`, in the given order."""
    bounds = [0.0, *values.values(), 1.0]
    if sorted(bounds) != bounds:
        listed = ", ".join(f"{name}={value}" for name, value in values.items())
        raise ConfigError(f"{group}: {listed} must satisfy 0 <= {' <= '.join(values)} <= 1")
