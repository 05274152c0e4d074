import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from visionkit.engine.audit.class_margins import class_margins, describe_disagreement, wrong_classes


@given(st.integers(2, 9), st.integers(1, 40), st.integers(0, 99))
def test_wrong_classes_are_other_ones(count, examples, seed):
    labels = np.random.default_rng(seed).integers(0, count, examples)
    wrong = wrong_classes(labels, count)
    assert (wrong != labels).all()
    assert ((wrong >= 0) & (wrong < count)).all()


@given(st.integers(2, 9), st.integers(1, 20), st.integers(0, 99))
def test_the_margin_is_positive_where_the_own_class_is_the_likeliest(count, examples, seed):
    random = np.random.default_rng(seed)
    logs, labels = random.normal(size=(examples, count)).astype(np.float32), random.integers(0, count, examples)
    assert ((class_margins(logs, labels) > 0) == (logs.argmax(axis=1) == labels)).all()


def test_both_classes_are_named_with_their_probabilities():
    text = describe_disagreement(np.log(np.float32([0.1, 0.7, 0.2])), 0, ["cat", "dog", "cow"])
    assert text == "cat, but the model says dog with probability 0.70 (cat 0.100)"
