"""Lightning's batch size finder with times, and the batch size that keeps the effective batch."""

import pytest
import torch
from lightning.pytorch.plugins import MixedPrecision

from tests.helpers.small_classifier import small_classification, small_images
from tests.helpers.small_trainer import small_trainer
from visionkit.engine.batch_size_finder import TaskBatchSizeFinder, choose_batch_size
from visionkit.errors import VisionkitError


@pytest.fixture(autouse=True)
def no_garbage_collection(monkeypatch):
    """Lightning collects garbage before every batch size, which takes a second in the process of all tests."""
    monkeypatch.setattr("gc.collect", lambda *_: 0)


def find(tmp_path, monkeypatch, first=2, largest=16, fits=1024, **options):
    """Run a finder on a machine whose memory is full with more than `fits` images, and return it with the task."""
    data = small_images(train=20)
    task = small_classification(data.class_names)
    losses = task.training_losses

    def limited(batch, step):
        if len(batch.images) > fits:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return losses(batch, step)

    monkeypatch.setattr(task, "training_losses", limited)
    before = {name: value.clone() for name, value in task.state_dict().items()}
    finder = TaskBatchSizeFinder(first, largest, steps=3)
    trainer = small_trainer(
        callbacks=[finder],
        max_epochs=-1,
        max_steps=3,
        check_val_every_n_epoch=10**9,
        default_root_dir=tmp_path,
        **options,
    )
    trainer.fit(task, data)
    assert trainer.global_step == 0
    assert not [*tmp_path.iterdir()]
    assert all(torch.equal(value, before[name]) for name, value in task.state_dict().items())
    return finder


def test_sizes_double_up_to_the_largest(tmp_path, monkeypatch):
    seconds = find(tmp_path, monkeypatch).seconds
    assert [*seconds] == [2, 4, 8, 16]
    assert all(taken > 0 for taken in seconds.values())


def test_steps_that_a_gradient_scaler_skips_are_measured(tmp_path, monkeypatch):
    """With so large a scale, the gradients of the first steps are not finite."""
    precision = MixedPrecision("16-mixed", "cpu", scaler=torch.amp.GradScaler("cpu", init_scale=2.0**120))
    assert [*find(tmp_path, monkeypatch, largest=4, plugins=[precision]).seconds] == [2, 4]


def test_the_largest_size_need_not_be_a_power(tmp_path, monkeypatch):
    assert [*find(tmp_path, monkeypatch, first=3, largest=13).seconds] == [3, 6, 12]


@pytest.mark.parametrize(("fits", "sizes"), [(4, [2, 4]), (1, [1])])
def test_the_search_ends_where_the_memory_is_full(fits, sizes, tmp_path, monkeypatch):
    assert [*find(tmp_path, monkeypatch, fits=fits).seconds] == sizes


def test_a_memory_that_is_too_small_for_one_image_is_an_error(tmp_path, monkeypatch):
    with pytest.raises(VisionkitError, match="too small for one image"):
        find(tmp_path, monkeypatch, fits=0)


@pytest.mark.parametrize(
    ("speeds", "given", "effective", "chosen"),
    [
        ({2: 10.0, 4: 18.0, 8: 30.0}, 8, 8, 8),
        ({2: 10.0, 4: 18.0}, 16, 16, 4),  # 16 do not fit
        ({2: 30.0, 4: 20.0}, 4, 4, 2),  # smaller is faster
        ({2: 20.5, 4: 20.0}, 4, 4, 4),  # by too little
        ({2: 10.0, 4: 18.0, 8: 30.0}, 4, 4, 4),  # 8 would change the effective batch
        ({2: 10.0, 4: 18.0, 8: 30.0}, 4, 16, 8),  # another effective batch is asked for
        ({4: 18.0}, 4, 6, 3),  # no measured size divides 6
    ],
)
def test_the_chosen_size_divides_the_effective_batch(speeds, given, effective, chosen):
    assert choose_batch_size(speeds, given, effective) == chosen
    assert effective % chosen == 0
