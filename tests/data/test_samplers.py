from collections import Counter

import lightning.pytorch as pl
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from visionkit.data.datamodule import VisionData
from visionkit.data.samplers import (
    NO_IMAGE,
    ClassBalancedSampler,
    EvaluationSampler,
    Place,
    SeededImage,
    ShuffledSampler,
)
from visionkit.errors import ConfigError

processes = st.integers(1, 5)
labels = st.lists(st.integers(0, 4), min_size=1, max_size=40).map(np.array)


def dealt(sampler, processes, *arguments, epoch=0):
    """What each process draws in an epoch."""
    parts = []
    for rank in range(processes):
        own = sampler(*arguments, rank, processes)
        own.set_epoch(epoch)
        drawn = list(own)
        parts.append([key.number if isinstance(key, SeededImage) else key for key in drawn])
        assert len(own) == len(drawn)
    return parts


@given(st.integers(0, 40), processes)
def test_exactly_once_leaves_out_and_repeats_nothing(count, processes):
    parts = dealt(EvaluationSampler, processes, count)
    empty = [part for part in parts if part == [NO_IMAGE]]
    assert len(empty) == (max(processes - count, 0) if count else 0), "each process takes part"
    parts = [[] if part == [NO_IMAGE] else part for part in parts]
    assert sorted(index for part in parts for index in part) == list(range(count))
    assert all(part == sorted(part) for part in parts)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@given(labels, processes, st.integers(0, 3))
def test_balanced_draws_every_class_and_every_image_of_it_equally_often(labels, processes, epoch):
    parts = dealt(ClassBalancedSampler, processes, labels, epoch=epoch)
    assert len({len(part) for part in parts}) == 1, "a process with fewer steps would leave the others waiting"
    drawn = [index for part in parts for index in part]
    assert len(labels) <= len(drawn) < len(labels) + processes
    by_class = Counter(labels[drawn].tolist())
    counts = [by_class[label] for label in set(labels.tolist())]
    assert max(counts) - min(counts) <= 1
    for label in set(labels.tolist()):
        times = [drawn.count(index) for index in np.flatnonzero(labels == label)]
        assert max(times) - min(times) <= 1


@given(labels)
def test_balanced_processes_share_out_what_one_alone_would_draw(labels):
    labels = np.tile(labels, 2)
    alone, (first, second) = dealt(ClassBalancedSampler, 1, labels)[0], dealt(ClassBalancedSampler, 2, labels)
    assert alone[0::2] == first
    assert alone[1::2] == second


def test_balanced_repeats_by_seed_and_epoch_and_differs_otherwise():
    labels = np.arange(30) % 3
    first = dealt(ClassBalancedSampler, 1, labels)
    assert first == dealt(ClassBalancedSampler, 1, labels)
    assert first != dealt(ClassBalancedSampler, 1, labels, epoch=1)
    assert first[0] != [key.number for key in ClassBalancedSampler(labels, 0, 1, seed=1)]


@given(st.integers(1, 40), processes, st.integers(0, 3))
def test_shuffled_draws_every_image_and_repeats_as_few_as_possible(count, processes, epoch):
    parts = dealt(ShuffledSampler, processes, count, epoch=epoch)
    assert len({len(part) for part in parts}) == 1
    drawn = [index for part in parts for index in part]
    assert set(drawn) == set(range(count))
    assert len(drawn) < count + processes


def test_seeds_of_the_augmentation_differ_between_draws_epochs_and_processes_and_repeat():
    def keys(rank, processes, epoch):
        sampler = ShuffledSampler(20, rank, processes)
        sampler.set_epoch(epoch)
        return list(sampler)

    alone = keys(0, 1, 0)
    assert alone == keys(0, 1, 0)
    assert len({key.seed for key in alone + keys(0, 1, 1)}) == 40
    assert [keys(0, 2, 0), keys(1, 2, 0)] == [alone[0::2], alone[1::2]]


def test_draws_are_left_out_at_the_start():
    sampler = ShuffledSampler(10, 1, 2)
    whole = list(sampler)
    sampler.set_epoch(0)
    sampler.skipped = 2
    assert list(sampler) == whole[2:]


def test_without_set_epoch_every_iteration_is_a_new_epoch():
    sampler = ShuffledSampler(10, 0, 1)
    first, second = list(sampler), list(sampler)
    assert first != second
    sampler.set_epoch(0)
    assert [list(sampler), list(sampler)] == [first, second]


def test_balanced_loaders_draw_by_the_seed_of_the_run(monkeypatch):
    monkeypatch.setenv("PL_GLOBAL_SEED", "")  # put back as it was at the end
    monkeypatch.setenv("PL_SEED_WORKERS", "")
    one_object = {"count": 20, "size": 48, "max_objects": 1, "empty_share": 0.0}

    def order(seed, rank=0, processes=1):
        pl.seed_everything(seed, verbose=False)
        data = VisionData("shapes", splits={"train": one_object}, num_workers=0, sampling="balanced")
        monkeypatch.setattr(data, "_place", lambda: Place(rank, processes))
        return list(data.train_dataloader().sampler)

    assert order(seed=1) == order(seed=1)
    assert order(seed=1) != order(seed=2)
    assert [order(1, rank, 2) for rank in (0, 1)] == [order(1)[0::2], order(1)[1::2]]


def test_a_process_with_fewer_images_than_a_batch_trains_on_them(monkeypatch):
    data = VisionData("shapes", splits={"train": {"count": 6, "size": 48}}, batch_size=4, num_workers=0)
    monkeypatch.setattr(data, "_place", lambda: Place(1, 2))
    assert [len(batch.images) for batch in data.train_dataloader()] == [3]


@pytest.mark.parametrize("labels", [[0, -1, 1], []])
def test_balanced_needs_one_class_a_image(labels):
    with pytest.raises(ConfigError, match="one class an image"):
        ClassBalancedSampler(np.array(labels, np.int64), 0, 1)


def test_lightning_leaves_the_samplers_in_place():
    """Otherwise the trainer replaces it by its own sampler, which repeats images and does not balance classes."""
    trainer = pl.Trainer(accelerator="cpu", devices=2, strategy="ddp", logger=False, enable_checkpointing=False)
    replaces = trainer._data_connector._requires_distributed_sampler
    assert replaces(DataLoader(range(3)))
    for sampler in (EvaluationSampler(3, 0, 2), ClassBalancedSampler(np.array([0, 1, 1]), 0, 2)):
        assert not replaces(DataLoader(range(3), sampler=sampler))
