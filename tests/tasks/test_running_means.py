"""Means of losses over an epoch, also of one that is resumed and of several processes."""

import torch

from visionkit.tasks.running_means import RunningMeans


def filled(*batches):
    means = RunningMeans()
    for loss, images in batches:
        means.update({"loss": torch.tensor(loss)}, images)
    return means


def test_batches_count_by_their_images():
    assert filled((1.0, 1), (4.0, 2)).compute() == {"loss": 3.0}


def test_a_value_counts_by_the_images_that_have_it():
    means = filled((1.0, 1))
    means.update({"loss": torch.tensor(4.0), "boxes": torch.tensor(2.0)}, 2)
    assert means.compute() == {"loss": 3.0, "boxes": 2.0}


def test_a_state_of_an_older_checkpoint_has_one_number_of_images():
    means = RunningMeans()
    means.load_state_dict({"images": 2, "sum/loss": 6.0})
    assert means.compute() == {"loss": 3.0}


def test_a_restored_state_continues_the_means():
    continued = RunningMeans()
    continued.load_state_dict(filled((1.0, 1)).state_dict())
    continued.update({"loss": torch.tensor(4.0)}, 2)
    assert continued.compute() == {"loss": 3.0}


def test_processes_are_joined_also_one_without_images(monkeypatch):
    states = [filled((1.0, 1)).state_dict(), filled((4.0, 2)).state_dict(), RunningMeans().state_dict()]
    monkeypatch.setattr("visionkit.tasks.running_means.all_gather_objects", lambda own: states)
    assert RunningMeans().compute() == {"loss": 3.0}


def test_only_the_first_process_continues_a_state_of_all():
    state = filled((1.0, 1)).state_dict()
    first, second = RunningMeans(), filled((9.0, 9))
    first.load_state_dict(state)
    second.load_state_dict(state, is_first_process=False)
    assert (first.compute(), second.compute()) == ({"loss": 1.0}, {})


def test_nothing_is_left_after_a_reset():
    means = filled((1.0, 1))
    means.reset()
    assert means.compute() == {}
