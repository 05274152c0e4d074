"""How much more a quick model believes in the annotated class than in any other."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def class_margins(logs: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the log probability of each example's own class minus the largest of another class, float32 [N].

    Args:
        logs: float32 [N, K], log probabilities.
        labels: int64 [N], own classes.

    Example:
        >>> import numpy as np
        >>> from visionkit.engine.audit.class_margins import class_margins
        >>> class_margins(np.float32([[-1, -3, -2], [-4, -1, -2]]), np.array([0, 0]))
        array([ 1., -3.], dtype=float32)
    """
    own = np.take_along_axis(logs, labels[:, None], axis=1)[:, 0]
    others = logs.copy()
    np.put_along_axis(others, labels[:, None], -np.inf, axis=1)
    return own - others.max(axis=1)


def wrong_classes(labels: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return a random other class for each label 0..`count` - 1, the same ones in every run; at least two classes."""
    return (labels + np.random.default_rng(0).integers(1, count, len(labels))) % count


def describe_disagreement(logs: NDArray[np.float32], own: int, names: Sequence[str]) -> str:
    """Return which class a model prefers, in words.

    Args:
        logs: float32 [K], log probability of each class.
        own: the annotated class.
        names: K names.
    """
    guess = int(logs.argmax())
    return (
        f"{names[own]}, but the model says {names[guess]} with probability {np.exp(logs[guess]):.2f} "
        f"({names[own]} {np.exp(logs[own]):.3f})"
    )
