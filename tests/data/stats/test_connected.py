import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from visionkit.data.stats.connected import connect, larger_sets


def test_items_without_a_pair_and_a_chain():
    assert connect(np.zeros((0, 2), np.int64), 3).tolist() == [0, 1, 2]
    chain = np.array([[index, index + 1] for index in range(98, -1, -1)])
    assert connect(chain, 101).tolist() == [0] * 100 + [1]


@given(st.integers(1, 12).flatmap(lambda n: st.tuples(st.just(n), st.lists(st.tuples(*[st.integers(0, n - 1)] * 2)))))
def test_items_are_in_one_set_if_a_path_of_pairs_joins_them(case):
    count, pairs = case
    reached = np.eye(count, dtype=bool)
    for first, second in pairs:
        reached[first, second] = reached[second, first] = True
    for _ in range(count):
        reached = reached @ reached
    sets = connect(np.array(pairs, np.int64).reshape(-1, 2), count)
    assert (reached == (sets[:, None] == sets)).all()
    expected = {tuple(np.flatnonzero(row).tolist()) for row in reached if row.sum() > 1}
    assert {tuple(items) for items in larger_sets(sets)} == expected
