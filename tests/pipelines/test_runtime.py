import pytest
import torch

from tests.helpers.small_classifier import small_classification, small_images, small_network
from tests.helpers.small_trainer import small_trainer
from visionkit.data.datasets.shapes import SHAPE_OUTLINES
from visionkit.pipelines import ClassificationPipeline, RuntimeOptions

NAMES = list(SHAPE_OUTLINES)


@pytest.mark.parametrize("channels_last", [True, False])
def test_images_and_weights_have_the_layout_that_is_asked_for(channels_last):
    task = small_classification(NAMES, runtime=RuntimeOptions(channels_last=channels_last)).eval()
    seen = []
    task.network.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    with torch.inference_mode():
        task([torch.zeros(3, 40, 40, dtype=torch.uint8)] * 2)
    weight = next(value for value in task.network.parameters() if value.ndim == 4 and value.shape[2] > 1)
    for tensor in (seen[0], weight):
        assert tensor.is_contiguous(memory_format=torch.channels_last) == channels_last


def test_the_layout_changes_no_prediction():
    image = torch.randint(0, 256, (3, 40, 50), dtype=torch.uint8)
    with torch.inference_mode():
        first, second = (
            small_classification(NAMES, runtime=RuntimeOptions(channels_last=choice)).eval()([image])
            for choice in (True, False)
        )
    torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-5)


def test_compiling_replaces_what_training_calls_and_keeps_the_keys(monkeypatch):
    """torch.compile takes a minute, so a replacement counts the calls."""
    passes = []

    def stand_in(function, *given, **named):
        return lambda *inputs: passes.append(len(inputs[0])) or function(*inputs)

    monkeypatch.setattr(torch, "compile", stand_in)
    data = small_images(train=8, val=6)
    task = small_classification(NAMES, runtime=RuntimeOptions(compile=True))
    keys = list(task.state_dict())
    with torch.inference_mode():
        task([torch.zeros(3, 40, 40, dtype=torch.uint8)])
    assert not passes, "prediction does not wait for a compiler"
    small_trainer().fit(task, data)
    assert passes == [4, 4, 4, 2], "two steps and the validation"
    assert list(task.state_dict()) == keys


def test_a_checkpoint_without_the_section_gets_the_defaults():
    task = small_classification(NAMES)
    description = {key: value for key, value in task.description().items() if key != "runtime"}
    again = ClassificationPipeline.from_description(description, small_network(6))
    assert again.runtime_options == RuntimeOptions()


@pytest.mark.slow
def test_a_compiled_network_trains():
    task = small_classification(NAMES, runtime=RuntimeOptions(compile=True))
    trainer = small_trainer(max_epochs=2)
    trainer.fit(task, small_images())
    assert torch.isfinite(trainer.callback_metrics["val/loss"])
