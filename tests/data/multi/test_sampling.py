from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from visionkit.data.multi.sampling import MultiSampler, share_out
from visionkit.data.samplers import ShuffledSampler
from visionkit.errors import ConfigError

SAMPLINGS = ("proportional", "temperature", "round_robin")

processes = st.integers(1, 5)
groups = st.lists(st.integers(0, 3), min_size=1, max_size=40).map(
    lambda found: np.unique(found, return_inverse=True)[1]
)


def drawn(groups, sampling, processes=1, epoch=0, temperature=2.0, seed=None, skipped=0):
    """The keys that each process draws in an epoch."""
    parts = []
    for rank in range(processes):
        sampler = MultiSampler(groups, sampling, temperature, rank, processes, seed)
        sampler.set_epoch(epoch)
        sampler.skipped = skipped
        parts.append(list(sampler))
    return parts


def numbers(parts):
    return [key.number for part in parts for key in part]


@pytest.mark.parametrize("sampling", SAMPLINGS)
@given(count=st.integers(0, 20), processes=processes, epoch=st.integers(0, 2), seed=st.integers(0, 3))
def test_one_group_has_the_order_and_seeds_of_the_shuffled_sampler(sampling, count, processes, epoch, seed):
    parts = drawn(np.zeros(count, np.int64), sampling, processes, epoch, seed=seed)
    for rank, part in enumerate(parts):
        shuffled = ShuffledSampler(count, rank, processes, seed)
        shuffled.set_epoch(epoch)
        assert part == list(shuffled)


@given(groups, processes, st.integers(0, 2))
def test_proportional_draws_every_image_and_repeats_as_few_as_possible(groups, processes, epoch):
    parts = drawn(groups, "proportional", processes, epoch)
    found = numbers(parts)
    assert set(found) == set(range(len(groups)))
    assert len(found) < len(groups) + processes


@pytest.mark.parametrize("sampling", SAMPLINGS)
@given(groups=groups, processes=processes, epoch=st.integers(0, 2))
def test_processes_draw_equally_many_and_no_image_before_all_others_of_its_group(sampling, groups, processes, epoch):
    parts = drawn(groups, sampling, processes, epoch)
    assert len({len(part) for part in parts}) == 1
    found = numbers(parts)
    assert len(groups) <= len(found) < len(groups) + processes
    for group in np.unique(groups):
        times = [found.count(index) for index in np.flatnonzero(groups == group)]
        assert max(times) - min(times) <= 1


@given(groups, processes, st.floats(1, 50))
def test_the_shares_of_a_temperature_are_exact(groups, processes, temperature):
    parts = drawn(groups, "temperature", processes, temperature=temperature)
    found = numbers(parts)
    sizes = np.bincount(groups)
    weights = sizes ** (1 / temperature)
    counts = np.bincount(groups[found], minlength=len(sizes))
    assert (np.abs(counts - len(found) * weights / weights.sum()) < 1).all()


def test_a_temperature_of_one_draws_every_image_once_and_a_high_one_all_groups_alike():
    groups = np.repeat([0, 1, 2], [70, 20, 10])
    assert sorted(numbers(drawn(groups, "temperature", temperature=1.0))) == list(range(100))
    even = Counter(groups[numbers(drawn(groups, "temperature", temperature=1e6))].tolist())
    assert sorted(even.values()) == [33, 33, 34]


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=6), st.floats(1, 100), st.integers(1, 10**6))
def test_shares_add_up(sizes, temperature, total):
    counts = share_out(np.array(sizes), temperature, total)
    assert counts.sum() == total
    assert (counts >= 0).all()


@given(groups, processes)
def test_round_robin_takes_the_groups_in_turn_in_every_process(groups, processes):
    of_process = [[int(groups[key.number]) for key in part] for part in drawn(groups, "round_robin", processes)]
    count = int(groups.max()) + 1
    for rank, own in enumerate(of_process):
        assert own == [(rank + step) % count for step in range(len(own))]


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_order_and_seeds_follow_from_seed_and_epoch_and_go_on_in_the_middle(sampling):
    groups = np.repeat([0, 1], [12, 5])
    (first,) = drawn(groups, sampling, epoch=1, seed=3)
    assert [first] == drawn(groups, sampling, epoch=1, seed=3)
    assert numbers([first]) != numbers(drawn(groups, sampling, epoch=2, seed=3))
    assert numbers([first]) != numbers(drawn(groups, sampling, epoch=1, seed=4))
    assert [first[5:]] == drawn(groups, sampling, epoch=1, seed=3, skipped=5)
    two = drawn(groups, sampling, processes=2, epoch=1, seed=3)
    rest = drawn(groups, sampling, processes=2, epoch=1, seed=3, skipped=4)
    assert rest == [part[4:] for part in two]


def test_the_options_are_checked():
    with pytest.raises(ConfigError, match="sampling='roundrobin' is unknown; did you mean round_robin"):
        MultiSampler(np.zeros(3, np.int64), "roundrobin", 1.0, 0, 1)
    with pytest.raises(ConfigError, match=r"temperature=0.5 must be at least 1"):
        MultiSampler(np.zeros(3, np.int64), "temperature", 0.5, 0, 1)
