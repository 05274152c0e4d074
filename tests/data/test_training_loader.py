import pytest
import torch
from torch.utils.data import Dataset

from visionkit.data.samplers import ShuffledSampler
from visionkit.data.training_loader import Position, TrainingLoader


class Numbers(Dataset):
    """Dataset whose items are their own numbers."""

    def __len__(self):
        return 10

    def __getitem__(self, key):
        return key.number


def batches(workers, epochs, start=None):
    """Return the batches of several epochs, iterated as Lightning does: `iter` comes before the epoch is set."""
    loader = TrainingLoader(Numbers(), batch_size=3, sampler=ShuffledSampler(10, 0, 1, seed=4), num_workers=workers)
    loader.start = start
    found = []
    for epoch in epochs:
        iterator = iter(loader)
        loader.sampler.set_epoch(epoch)
        found.append([batch.tolist() for batch in iterator])
    return found


@pytest.mark.parametrize("workers", [0, 2])
def test_the_first_iteration_of_the_epoch_starts_at_the_position(workers):
    whole = batches(0, [0, 1, 2])
    assert sorted(number for batch in whole[1] for number in batch) == list(range(10))
    assert batches(workers, [1, 2], Position(epoch=1, batches=2)) == [whole[1][2:], whole[2]]
    assert batches(workers, [1], Position(epoch=1, batches=4)) == [[]]


def test_a_position_of_another_epoch_is_over():
    """A checkpoint from the end of an epoch is continued in the next one."""
    assert batches(0, [2], Position(epoch=1, batches=4)) == batches(0, [2])


def test_lightning_sees_a_loader_that_can_be_resumed():
    loader = TrainingLoader(Numbers(), batch_size=3, sampler=ShuffledSampler(10, 0, 1))
    loader.load_state_dict(loader.state_dict())
    assert len(loader) == 4
    assert torch.cat(list(loader)).unique().numel() == 10
