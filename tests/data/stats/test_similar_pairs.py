import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visionkit.data.stats import similar_pairs as module
from visionkit.data.stats.similar_pairs import similar_pairs


def unit(random, count, variants):
    values = random.normal(size=(variants, count, 5)).astype(np.float32)
    return values / np.linalg.norm(values, axis=2, keepdims=True)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 30), st.integers(1, 3), st.sampled_from([3, 50, 10**6]))
def test_they_are_those_of_a_plain_search(seed, count, variants, block):
    given_variants = unit(np.random.default_rng(seed), count, variants)
    descriptors = given_variants[0]
    before, module.BLOCK = module.BLOCK, block
    try:
        pairs = similar_pairs(descriptors, list(given_variants), threshold=0.5, most=count + 1)
    finally:
        module.BLOCK = before
    cosines = np.einsum("id,vjd->ijv", descriptors, given_variants)
    expected = {
        (i, j): (int(cosines[i, j].argmax()), float(cosines[i, j].max()))
        for i in range(count)
        for j in range(count)
        if i != j and cosines[i, j].max() >= 0.5
    }
    found = {(int(i), int(j)): (int(v), pytest.approx(float(c), abs=1e-5)) for i, j, v, c in zip(*pairs, strict=True)}
    assert found == expected


def test_the_most_similar_ones_are_kept_best_first():
    descriptors = unit(np.random.default_rng(1), 20, 1)[0]
    all_pairs = similar_pairs(descriptors, [descriptors], -1.0, 19)
    pairs = similar_pairs(descriptors, [descriptors], -1.0, 4)
    for image in range(20):
        everything = all_pairs.cosine[all_pairs.first == image]
        assert pairs.cosine[pairs.first == image] == pytest.approx(np.sort(everything)[::-1][:4])
