"""Groups of similar images, told from their file names: frames of one video, a burst, copies of one image.

If such images stand in the training and the validation split, the metrics of validation are too good.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import PurePath
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from visionkit.errors import ConfigError

Indices = NDArray[np.int64]

AUTO, NONE = "auto", "none"

MIN_GROUPS = 4
"""Fewest groups. With fewer, a held-out group is a large part of the data."""

MIN_MEAN_SIZE = 1.5
"""Smallest mean number of images in the groups that are told from numbers and folders."""

_COPY = re.compile(r"(_(jpe?g|png|bmp|tiff?|webp))?\.rf\.[0-9A-Za-z]{8,}$", re.IGNORECASE)
_NUMBER = re.compile(r"[-_. ]*\d+$")


class Groups(NamedTuple):
    """Index of the group of each image, int64 [N], and how the groups were told."""

    indices: Indices
    description: str


def find_groups(paths: Sequence[PurePath], labels: Indices, rule: str = AUTO) -> Groups | None:
    """Return the groups of images; None if there are none.

    The rule `auto` takes the first of these that gives at least four groups, and at least two for each class:

    1. the part of the file name before its last number ("flight2_0041.jpg": "flight2"), after 2. is removed,
    2. the source image of copies that Roboflow made ("a_jpg.rf.5c3d....jpg": "a"),
    3. the folder of the file, if the images have no class.

    Args:
        paths: path of each image.
        labels: int64 [N], class of each image; -1 for images without a single class.
        rule: auto; none; or a regular expression that is searched in the path. Its first group, or else all that it
            matches, is the name of the group. A path that does not match is a group of its own.

    Raises:
        ConfigError: the rule is not a regular expression, or matches no path.

    Example:
        >>> from pathlib import Path
        >>> import numpy as np
        >>> from visionkit.data.holdout_groups import find_groups
        >>> paths = [Path(f"video{video}_{frame:03}.jpg") for video in range(4) for frame in range(3)]
        >>> find_groups(paths, np.full(12, -1)).indices.tolist()
        [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    """
    if rule == NONE or not paths:
        return None
    if rule != AUTO:
        return Groups(_indices(_matches(paths, rule)), f"groups of {rule}")
    for name, (group_of, min_mean_size) in _RULES.items():
        indices = _indices([group_of(path) for path in paths])
        count = int(indices.max()) + 1
        has_size = MIN_GROUPS <= count < len(paths) and count * min_mean_size <= len(paths)
        is_class = group_of is _folder and (labels >= 0).any()
        if has_size and not is_class and covers_classes(indices, labels):
            return Groups(indices, name)
    return None


def grouped_holdout(labels: Indices, groups: Indices, fraction: float, seed: int) -> tuple[Indices, Indices]:
    """Split images into two parts that have no group in common, with nearly the same share of each class held out.

    Groups are visited in random order, the large ones first. A group is held out if the share of each class comes
    nearer to `fraction` by it.

    Args:
        labels: int64 [N], class of each image; images without a class (-1) are treated as one more class.
        groups: int64 [N], index of the group of each image.
        fraction: share of the images that is held out, above 0 and below 1.
        seed: seed of the selection.

    Returns:
        Indices of the images that are kept and of those that are held out, each in ascending order.

    Raises:
        ConfigError: there are fewer than two groups.
    """
    count = int(groups.max(initial=-1)) + 1
    if count < 2:
        raise ConfigError(f"holdout: all {len(labels)} images are of one group; set data.holdout.groups=none")
    _, classes = np.unique(labels, return_inverse=True)
    sizes = np.zeros((count, int(classes.max()) + 1), np.int64)
    np.add.at(sizes, (groups, classes), 1)
    wanted, held = fraction * sizes.sum(axis=0), np.zeros(sizes.shape[1])
    shuffled = np.random.default_rng(seed).permutation(count)
    order = shuffled[np.argsort(-sizes[shuffled].sum(axis=1), kind="stable")]
    chosen: list[int] = []
    for group in order.tolist():
        if np.abs(held + sizes[group] - wanted).sum() < np.abs(held - wanted).sum() and len(chosen) < count - 1:
            chosen.append(group)
            held += sizes[group]
    is_held_out = np.isin(groups, chosen or [int(order[-1])])
    return np.flatnonzero(~is_held_out), np.flatnonzero(is_held_out)


def group_name(path: PurePath) -> str:
    """Return the part of a file name before its last number, without what Roboflow adds to copies.

    Example:
        >>> from pathlib import PurePath
        >>> from visionkit.data.holdout_groups import group_name
        >>> group_name(PurePath("train/flight2_0041.jpg")), group_name(PurePath("a_jpg.rf.5c3d0a1b.jpg"))
        ('flight2', 'a')
    """
    return _NUMBER.sub("", _source_name(path))


def is_copy(path: PurePath) -> bool:
    """Return whether a file name is that of a copy that Roboflow made."""
    return _COPY.search(path.stem) is not None


def _before_last_number(path: PurePath) -> str:
    return str(path.with_name(group_name(path) or "-"))


def _source(path: PurePath) -> str:
    return str(path.with_name(_source_name(path) or "-"))


def _source_name(path: PurePath) -> str:
    return _COPY.sub("", path.stem)


def _folder(path: PurePath) -> str:
    return str(path.parent)


_RULES: dict[str, tuple[Callable[[PurePath], str], float]] = {
    "groups of file names that differ in their last number": (_before_last_number, MIN_MEAN_SIZE),
    "groups of copies of one image": (_source, 1.0),
    "groups of images in one folder": (_folder, MIN_MEAN_SIZE),
}
"""Function that returns the name of an image's group and smallest mean size, by description, in order."""


def _matches(paths: Sequence[PurePath], rule: str) -> list[str]:
    try:
        pattern = re.compile(rule)
    except re.error as error:
        raise ConfigError(f"data.holdout.groups={rule!r} is not a regular expression: {error}") from error
    found = [pattern.search(path.as_posix()) for path in paths]
    if not any(found):
        raise ConfigError(f"data.holdout.groups={rule!r} matches no path, such as {paths[0].as_posix()}")
    return [
        f"path {path}" if match is None else f"group {match[1] if pattern.groups else match[0]}"
        for path, match in zip(paths, found, strict=True)
    ]


def _indices(names: Sequence[str]) -> Indices:
    """Return the index of each name, numbered in the order of their first appearance."""
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(name, len(numbers)) for name in names], np.int64)


def covers_classes(groups: Indices, labels: Indices) -> bool:
    """Return whether each class with several images has several groups, so that it can be in both parts."""
    members = (groups[labels == label] for label in np.unique(labels))
    return all(len(own) < 2 or len(np.unique(own)) > 1 for own in members)
