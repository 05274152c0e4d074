"""A training step does not wait for the GPU: which operations wait can be told on a CPU."""

import math

import pytest
import torch

from tests.helpers.detectors import images
from tests.helpers.every_detector import EVERY, built, full_target
from tests.helpers.fake_gpu import FakeNMS, fake_gpu, on_gpu
from tests.helpers.no_sync import NMS, SyncCounter
from visionkit.models import models
from visionkit.models.detection.parts.two_stage import TwoStageDetector
from visionkit.ops import waiting

SIZE = (100, 128)
TWO = images(SIZE, SIZE)


def targets():
    with_objects = full_target([[10, 10, 60, 70], [30, 40, 90, 100], [5, 80, 25, 95]], SIZE)
    other = full_target([[20, 5, 69, 60]], SIZE)
    return [{**one, "crowd": torch.zeros(len(one["labels"]), dtype=torch.bool)} for one in (with_objects, other)]


@pytest.fixture
def like_on_a_gpu(monkeypatch):
    """Make models take the paths of a GPU."""
    monkeypatch.setattr(waiting, "HOSTS", frozenset())


@EVERY
def test_a_training_step_waits_for_nothing_but_one_nms(name, like_on_a_gpu):
    network = built(name).train()
    network(TWO, targets())  # anchors are computed once
    with SyncCounter() as counter:
        sum(network(TWO, targets()).values()).backward()
    assert counter.waits == {}
    assert counter.nms_calls == isinstance(network, TwoStageDetector)


@EVERY
@pytest.mark.parametrize("crowd", [False, True])
def test_losses_on_a_gpu_without_values(name, crowd):
    """All tensors are on the GPU, no size depends on values, and copies to it are asynchronous."""
    network, given = built(name).train(), targets() if crowd else [full_target([[20, 5, 69, 60]], SIZE)] * 2
    with fake_gpu(network):
        inputs = [on_gpu(image) for image in TWO]
        given = [{key: on_gpu(value) for key, value in one.items()} for one in given]
        with FakeNMS():
            network(inputs, given)  # anchors are copied once
        with FakeNMS() as counter:
            losses = network(inputs, given)
        assert {loss.device.type for loss in losses.values()} == {"cuda"}
    assert +counter.calls == ({NMS: 1} if isinstance(network, TwoStageDetector) else {})


@EVERY
@pytest.mark.parametrize("case", ["objects", "an image without", "none", "crowds"])
def test_losses_and_gradients_are_the_same_on_both_paths(name, case, monkeypatch):
    """Padding does not count: neither that of samples, nor images without objects, nor crowds."""
    given = targets()
    if case in ("an image without", "none"):
        given = [given[0] if case != "none" else full_target([], SIZE), {**full_target([], SIZE)}]
    if case == "crowds":
        given = [{**one, "crowd": torch.ones_like(one["crowd"])} for one in given]
    results, dtype = [], torch.float32 if models.get(name).takes_proposals else torch.float64
    for hosts in (waiting.HOSTS, frozenset()):
        monkeypatch.setattr(waiting, "HOSTS", hosts)
        network = built(name, **({"head_dropout": 0.0} if name == "rcnn" else {})).to(dtype).train()
        torch.manual_seed(0)
        losses = network([image.to(dtype) for image in TWO], given)
        sum(losses.values()).backward()
        gradients = {key: value.grad for key, value in network.named_parameters() if value.grad is not None}
        results.append(({key: loss.item() for key, loss in losses.items()}, gradients))
    (losses, gradients), (on_gpu, on_gpu_gradients) = results
    assert on_gpu == pytest.approx(losses, rel=1e-5, abs=1e-9)
    assert all(map(math.isfinite, losses.values()))
    for key, gradient in gradients.items():
        scale = gradient.abs().max().item()
        torch.testing.assert_close(on_gpu_gradients[key], gradient, atol=1e-4 * scale + 1e-12, rtol=1e-4)


def test_the_counter_sees_operations_that_wait():
    values = torch.tensor([1.0, -2.0, 3.0])
    with SyncCounter() as counter:
        torch.where(values > 0)
        values[values > 0]
        values.tolist()
        bool(values.any())
        values.new_tensor([1.0])
        torch.tensor([2], device=values.device)
        values.unique()
        torch.repeat_interleave(torch.tensor([1, 2]))
        values[torch.tensor([0, 2])] = values.sum()
    assert sum(counter.waits.values()) == 8
