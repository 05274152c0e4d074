import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visionkit.data.samplers import ShuffledSampler
from visionkit.engine.run_length import RunLength, lengthen, steps_of_epoch
from visionkit.errors import ConfigError

numbers = st.integers(1, 300)


def test_a_long_run_is_unchanged():
    length = RunLength(26, 2)
    assert lengthen(length, steps_per_epoch=50, min_steps=1300) is length


@given(numbers, st.integers(1, 9), numbers, st.integers(0, 5000))
def test_there_are_enough_steps_and_not_more_validations(epochs, every, steps, min_steps):
    given_length = RunLength(epochs, every)
    length = lengthen(given_length, steps, min_steps)
    assert length.epochs * steps >= min_steps
    if length is not given_length:
        assert length.epochs % length.validate_every == 0
        assert length.epochs // length.validate_every <= math.ceil(epochs / every)
        assert (length.epochs - length.validate_every) * steps < min_steps


def test_an_epoch_without_steps_is_refused():
    with pytest.raises(ConfigError, match="steps_per_epoch"):
        lengthen(RunLength(1, 1), 0, 10)


@given(numbers, st.integers(1, 20), st.integers(1, 4), st.integers(1, 5))
def test_steps_are_those_of_the_loader(images, batch_size, processes, accumulated):
    own = len(ShuffledSampler(images, 0, processes))
    batches = own // batch_size if own >= batch_size else 1
    assert steps_of_epoch(images, batch_size, processes, accumulated) == math.ceil(batches / accumulated)
