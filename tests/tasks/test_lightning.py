"""Tasks behave as a user of Lightning expects: fit, save, load, test and predict."""

import pytest
import torch

from tests.helpers.small_classifier import small_classification, small_images
from tests.helpers.small_detector import small_data, small_task
from tests.helpers.small_segmenter import SmallSegmenter, small_masks, small_segmentation
from tests.helpers.small_trainer import small_trainer
from visionkit.errors import CheckpointError, ConfigError, VisionkitError
from visionkit.pipelines import make_ensemble
from visionkit.tasks import Classification, Detection, Segmentation, Task

CASES = {
    "detection": (Detection, small_task, small_data, None),
    "classification": (Classification, small_classification, small_images, None),
    "segmentation": (Segmentation, small_segmentation, small_masks, SmallSegmenter),
}


@pytest.fixture(scope="module", params=CASES)
def fitted(request, tmp_path_factory):
    """Class, fitted task, data, checkpoint and the arguments that rebuild the network where it has no name."""
    kind, make_task, make_data, network = CASES[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    data, trainer = make_data(), small_trainer(default_root_dir=folder)
    task = make_task(data.class_names)
    trainer.fit(task, data)
    trainer.save_checkpoint(folder / "a.ckpt")
    return kind, task, data, folder / "a.ckpt", {} if network is None else {"model": network(len(data.class_names))}


def test_a_checkpoint_is_loaded_by_its_class_and_by_the_base_class(fitted):
    kind, task, _, path, model = fitted
    for cls in (kind, Task):
        loaded = cls.load_from_checkpoint(path, **model)
        assert type(loaded) is kind
        assert loaded.training
        assert loaded.network.training
        assert loaded.options == task.options
        for name, value in task.state_dict().items():
            assert torch.equal(loaded.state_dict()[name], value), name


def test_another_task_does_not_load_it(fitted):
    kind, _, _, path, model = fitted
    other = Segmentation if kind is Detection else Detection
    with pytest.raises(CheckpointError, match=f"for the task {kind.name}, not {other.name}"):
        other.load_from_checkpoint(path, **model)


def test_a_loaded_task_is_tested_predicts_and_trains(fitted, tmp_path):
    kind, _, data, path, model = fitted
    trainer = small_trainer(default_root_dir=tmp_path)
    task = kind.load_from_checkpoint(path, **model)
    trainer.test(task, data.val_dataloader(), verbose=False)
    assert task.monitor.removeprefix("val/") in task.results.overall
    batches = trainer.predict(task, data.val_dataloader())
    assert [len(batch) for batch in batches] == [len(batch.images) for batch in data.val_dataloader()]
    assert all(result.class_names == data.class_names for batch in batches for result in batch)
    before = {name: value.clone() for name, value in task.state_dict().items()}
    trainer.fit(task, data)
    assert any(not torch.equal(before[name], value) for name, value in task.state_dict().items())


def test_trainer_predict_takes_a_loader_of_images_alone(fitted, tmp_path):
    kind, _, _, path, model = fitted
    images = [torch.randint(0, 256, (3, 48, 64), dtype=torch.uint8) for _ in range(3)]
    task = kind.load_from_checkpoint(path, **model)
    loader = torch.utils.data.DataLoader(images, batch_size=2, collate_fn=list)
    batches = small_trainer(default_root_dir=tmp_path).predict(task, loader)
    assert [len(batch) for batch in batches] == [2, 1]
    arrays = [image.permute(1, 2, 0).numpy() for image in images]
    expected = [result.to_dict() for result in task.pipeline.predict(arrays[:2], batch_size=2)]
    assert [result.to_dict() for result in batches[0]] == expected


def test_an_ensemble_is_tested_but_not_trained_or_saved(fitted, tmp_path):
    kind, task, data, _, _ = fitted
    pipeline = task.model_pipeline
    ensemble, trainer = kind(make_ensemble([pipeline, pipeline])), small_trainer(default_root_dir=tmp_path)
    trainer.test(ensemble, data.val_dataloader(), verbose=False)
    assert ensemble.results.overall
    with pytest.raises(VisionkitError, match="cannot be trained or saved"):
        trainer.fit(ensemble, data)
    with pytest.raises(VisionkitError, match="cannot be trained or saved"):
        trainer.save_checkpoint(tmp_path / "a.ckpt")


def test_a_run_may_be_limited_by_steps_alone():
    data = small_data()
    trainer = small_trainer(max_epochs=-1, max_steps=3)
    trainer.fit(small_task(data.class_names), data)
    assert trainer.global_step == 3


def test_a_pipeline_has_its_own_options(fitted):
    kind, task, _, _, _ = fitted
    assert kind(task.model_pipeline).class_names == task.class_names
    with pytest.raises(ConfigError, match=r"^class_names: the model is given as a pipeline"):
        kind(task.model_pipeline, task.class_names)
