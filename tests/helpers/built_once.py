"""Networks that a test process initializes once."""

import copy
import functools

import torch


@functools.lru_cache(maxsize=32)
def _built(build, name):
    return build(name), torch.get_rng_state()


def copy_of(build, name):
    """Return a copy of the seeded network `build(name)`, and leave the random numbers as after building it."""
    network, state = _built(build, name)
    torch.set_rng_state(state)
    return copy.deepcopy(network)
