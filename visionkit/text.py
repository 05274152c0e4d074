"""How messages name several things at once."""

from collections.abc import Sequence


def format_list(names: Sequence[str], most: int = 8) -> str:
    """The first `most` names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
