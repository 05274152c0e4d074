from threading import Thread

import pytest
import torch
from torch import nn

from visionkit.pipelines.uninitialized import has_shared_parameters, load_weights, parameters_without_storage


def layers():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))


def test_parameters_have_no_storage_and_buffers_do():
    with parameters_without_storage():
        module = layers()
    assert all(parameter.is_meta for parameter in module.parameters())
    assert not any(buffer.is_meta for buffer in module.buffers())
    assert not any(parameter.is_meta for parameter in layers().parameters())


def test_other_threads_build_as_usual():
    built = []
    with parameters_without_storage():
        thread = Thread(target=lambda: built.append(layers()))
        thread.start()
        thread.join()
    assert not any(parameter.is_meta for parameter in built[0].parameters())


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_loaded_weights_have_the_type_and_layout_of_the_module(layout, dtype):
    source = layers().to(dtype)
    with parameters_without_storage():
        module = layers()
    load_weights(module.to(memory_format=layout), source.state_dict())
    for name, value in module.state_dict().items():
        assert torch.equal(value, source.state_dict()[name].to(value.dtype)), name
    assert module[0].weight.dtype == torch.float32
    assert module[0].weight.is_contiguous(memory_format=layout)


def test_frozen_parameters_stay_frozen():
    source = layers()
    with parameters_without_storage():
        module = layers()
        module[0].requires_grad_(False)
    load_weights(module, source.state_dict())
    assert [parameter.requires_grad for parameter in module.parameters()] == [False, False, True, True]


def test_a_module_with_storage_keeps_its_tensors():
    module, source = layers(), layers()
    weight = module[0].weight
    load_weights(module, source.state_dict())
    assert module[0].weight is weight
    assert torch.equal(weight, source[0].weight)


def test_missing_and_misshapen_weights_are_refused():
    with parameters_without_storage():
        module = layers()
    state = layers().state_dict()
    with pytest.raises(RuntimeError, match="size mismatch"):
        load_weights(module, {**state, "0.weight": torch.zeros(4, 3, 5, 5)})
    del state["0.weight"]
    with pytest.raises(RuntimeError, match="Missing key"):
        load_weights(module, state)


def test_shared_parameters_are_found():
    module = layers()
    assert not has_shared_parameters(module)
    assert has_shared_parameters(nn.Sequential(module, module[0]))
