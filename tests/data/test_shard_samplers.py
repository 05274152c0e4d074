"""Samplers of datasets in shards."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from visionkit.data.samplers import NO_IMAGE, Place
from visionkit.data.shard_samplers import ShardEvaluationSampler, ShardSampler

sizes = st.lists(st.integers(1, 9), min_size=1, max_size=12)
"""Numbers of images of uneven shards."""

places = st.integers(1, 3).flatmap(lambda nodes: st.tuples(st.just(nodes), st.integers(1, 3)))
"""Number of nodes, and number of processes of each."""


def shards_with(counts):
    return np.repeat(np.arange(len(counts)), counts)


def drawn(shards, nodes=1, per_node=1, window=2, streams=None, epoch=0, skipped=0):
    """Return the images of each process."""
    parts = []
    for rank in range(nodes * per_node):
        place = Place(rank, nodes * per_node, nodes, rank // per_node)
        sampler = ShardSampler(shards, place, window, streams, seed=3)
        sampler.set_epoch(epoch)
        sampler.skipped = skipped
        parts.append(list(sampler))
        assert len(parts[-1]) == len(sampler) - skipped
    return parts


def numbers(part):
    return [key.number for key in part]


@given(sizes, places, st.integers(1, 4), st.integers(1, 5), st.integers(0, 2))
def test_every_image_is_drawn_and_as_few_as_possible_repeat(counts, place, window, streams, epoch):
    shards = shards_with(counts)
    parts = drawn(shards, *place, window, streams, epoch)
    assert len({len(part) for part in parts}) == 1
    assert {number for part in parts for number in numbers(part)} == set(range(len(shards)))
    assert sum(map(len, parts)) < len(shards) + np.lcm(len(parts), streams)


@given(sizes, st.sampled_from([(1, 2), (2, 1), (2, 2)]), st.integers(1, 3))
def test_the_steps_of_several_processes_are_those_of_one(counts, place, window):
    shards, processes = shards_with(counts), place[0] * place[1]
    (alone,) = drawn(shards, window=window, streams=4)
    together = drawn(shards, *place, window, streams=4)
    for step in range(len(alone) // processes):
        own = alone[step * processes : (step + 1) * processes]
        assert sorted(key[:2] for key in own) == sorted(part[step][:2] for part in together)


def test_a_node_reads_the_shards_of_its_own_streams_and_few_at_a_time():
    shards = shards_with([10] * 12)
    parts = drawn(shards, nodes=2, per_node=2, window=2)
    read = [{int(shards[number]) for part in parts[first : first + 2] for number in numbers(part)} for first in (0, 2)]
    assert [len(own) for own in read] == [6, 6]
    assert not read[0] & read[1]
    places = [int(shards[number]) for number in numbers(parts[0])]
    windows = [set(places[start : start + 10]) for start in range(0, 30, 10)]  # 20 images, by two processes
    assert [len(window) for window in windows] == [2, 2, 2]


def test_the_images_of_a_window_are_mixed_and_the_order_changes_with_the_epoch():
    shards = shards_with([50] * 4)
    first, second = (numbers(drawn(shards, window=4, epoch=epoch)[0]) for epoch in (0, 1))
    assert first != second
    assert sorted(first) == sorted(second) == list(range(200))
    changes = np.count_nonzero(np.diff(shards[first]))
    assert changes > 120  # three of four neighbors are of different shards
    assert np.count_nonzero(np.diff(shards[numbers(drawn(shards, window=1)[0])])) == 3


@given(sizes, places, st.integers(0, 5))
def test_an_epoch_continues_where_it_stopped(counts, place, skipped):
    shards = shards_with(counts)
    whole = drawn(shards, *place)
    skipped = min(skipped, len(whole[0]))
    for part, rest in zip(whole, drawn(shards, *place, skipped=skipped), strict=True):
        assert numbers(part)[skipped:] == numbers(rest)
        assert [key.seed for key in part[skipped:]] == [key.seed for key in rest]


def test_the_shards_of_the_next_window_are_named_at_the_start_of_this_one():
    shards = shards_with([10] * 6)
    (part,) = drawn(shards, window=2)
    next_window = {int(shards[number]) for number in numbers(part)[20:40]}
    assert {int(shards[key.ahead]) for key in part[:20]} == next_window
    assert [key.ahead for key in part[40:]] == [NO_IMAGE] * 20


def test_processes_that_are_no_multiple_of_the_nodes_draw_every_image():
    shards = shards_with([4, 5])
    parts = [numbers(ShardSampler(shards, Place(rank, 3, 2, rank // 2), 1, None, seed=0)) for rank in range(3)]
    assert {number for part in parts for number in part} == set(range(9))


@given(sizes, st.integers(1, 12))
def test_evaluation_scores_every_image_once_in_order(counts, processes):
    shards = shards_with(counts)
    parts = [numbers(ShardEvaluationSampler(shards, rank, processes)) for rank in range(processes)]
    assert [number for part in parts for number in part if number != NO_IMAGE] == list(range(len(shards)))
    lengths = [len(ShardEvaluationSampler(shards, rank, processes)) for rank in range(processes)]
    assert lengths == [len(part) for part in parts]
    assert min(lengths) > 0


def test_evaluation_names_the_next_shard():
    keys = list(ShardEvaluationSampler(shards_with([3, 3]), 0, 1))
    assert [key.ahead for key in keys] == [3, 4, 5, NO_IMAGE, NO_IMAGE, NO_IMAGE]


@pytest.mark.benchmark
def test_an_epoch_of_a_million_images_starts_within_a_second():
    sampler = ShardSampler(shards_with([1000] * 1000), Place(0, 8, 2), 8, None, seed=0)
    start = time.perf_counter()
    next(iter(sampler))
    assert time.perf_counter() - start < 1
