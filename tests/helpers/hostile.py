"""Hostile values and damaged bytes for the files of datasets."""

import copy
import functools
import time

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from visionkit.errors import VisionkitError

SECONDS = 10.0
"""Bound on the CPU time of a call, as in `tests/robustness`: the slowest takes 0.1 s, in which it imports modules."""
HOSTILE = [
    *(None, True, False, 0, -1, 1, 0.5, 1e9, -1e9, 1e39, 1e300, 2**31, 2**63, 10**400),
    *(float("nan"), float("inf"), -float("inf")),
    *("", "0", "a", "\0", "\ud800", "../x", "9" * 50, "[/red]", "😀", "PQ`m"),
    *([], {}, [[]], [None], [1] * 6, [1e9] * 6, [[float("nan")] * 6], [[[[[1]]]]]),
    *({"size": [1, 1]}, {"counts": [5], "size": [6, 8]}),
]
TEXTS = [
    *("", " ", "inf", "nan", "-1", "0", "1e300", "1e-300", "9" * 400),
    *("..", "/etc", "a\tb", "😀", "True", "&lt;", "]]>"),
]

CHECKS = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]  # a busy machine takes its time
settings.register_profile("hostile", deadline=None, suppress_health_check=CHECKS)


def read_all(dataset):
    for index in range(len(dataset)):
        sample = dataset[index]
        assert sample.image.shape[:2] == dataset.image_size(index)


def survives(read):
    """Call a reader, which may refuse the file, but not fail in another way or take long."""
    start = time.thread_time()  # without the threads that other tests of this process have left
    try:
        read()
    except VisionkitError as error:
        message = str(error)
        assert len(message.splitlines()) <= 5
        assert len(message) < 2000
    assert time.thread_time() - start < SECONDS


def places(value, path=()):
    """Return the paths of all values in nested lists and dicts."""
    found = [path] if path else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        found += places(inner, (*path, key))
    return found


def replaced(content, changes):
    """Return a copy of JSON values in which some are replaced; a change that no longer fits is skipped."""
    content = copy.deepcopy(content)
    for place, value in changes:
        try:
            parent = functools.reduce(lambda inner, key: inner[key], place[:-1], content)
            parent[place[-1]] = copy.deepcopy(value)
        except (TypeError, IndexError, KeyError):
            continue
    return content


def mutations(content):
    change = st.tuples(st.sampled_from(places(content)), st.sampled_from(HOSTILE))
    return st.lists(change, min_size=1, max_size=3).map(lambda changes: replaced(content, changes))


BYTES = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=4)


def damaged(data, changes, cut):
    data = bytearray(data)
    for position, value in changes:
        data[position % len(data)] = value
    return bytes(data[: len(data) - cut % len(data)])
