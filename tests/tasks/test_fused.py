"""Fused optimizers: the same steps, clipped gradients in mixed precision, and state with another memory layout."""

from copy import deepcopy

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW

from tests.helpers.small_classifier import small_classification, small_images
from tests.helpers.small_trainer import small_trainer
from visionkit.tasks.fused import make_fused
from visionkit.tasks.optimizers import OptimizerOptions

KINDS = [(SGD, {"momentum": 0.9, "nesterov": True}), (Adam, {}), (AdamW, {})]
LAYOUTS = [torch.contiguous_format, torch.channels_last]


def trained(make, layout=torch.channels_last, steps=3, state=None):
    """Return the weights and the optimizer after some steps."""
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 4, 5).to(memory_format=layout)
    images = torch.randn(2, 3, 9, 9).contiguous(memory_format=layout)
    optimizer = make([{"params": list(layer.parameters()), "weight_decay": 0.1}])
    if state is not None:
        optimizer.load_state_dict(state)
    for _ in range(steps):
        optimizer.zero_grad()
        layer(images).square().mean().backward()
        optimizer.step()
    return layer.weight.detach(), optimizer


@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_steps_are_those_of_the_plain_optimizer(kind, options):
    fused, optimizer = trained(lambda groups: make_fused(kind, groups, lr=0.1, **options))
    plain, _ = trained(lambda groups: kind(groups, lr=0.1, foreach=False, **options))
    assert optimizer.param_groups[0]["fused"]
    torch.testing.assert_close(fused, plain, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("kind", "options"), KINDS)
@pytest.mark.parametrize(("before", "after"), [LAYOUTS, LAYOUTS[::-1]])
def test_a_run_can_go_on_in_another_memory_layout(kind, options, before, after):
    def make(groups):
        return make_fused(kind, groups, lr=0.1, **options)

    state = trained(make, before)[1].state_dict()  # whose tensors the next optimizer would change
    same, other = (trained(make, layout, state=deepcopy(state))[0] for layout in (before, after))
    torch.testing.assert_close(same, other, rtol=1e-4, atol=1e-5)


def test_parameters_on_a_device_without_the_kernels_are_not_fused():
    assert not make_fused(SGD, [{"params": [nn.Parameter(torch.empty(2, device="meta"))]}], lr=0.1).defaults["fused"]


def late(make, first=2, frozen=False, **options):
    """Return the weights and the optimizer after four steps, in which a second layer is used from step `first` on."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1).requires_grad_(not frozen)]
    images = torch.randn(2, 3, 9, 9)
    parameters = [value for layer in layers for value in layer.parameters()]
    optimizer = make([{"params": parameters, "weight_decay": 0.1}], lr=0.1, **options)
    for step in range(4):

        def closure(step=step):
            optimizer.zero_grad()
            found = layers[0](images)
            loss = (layers[1](found) if step >= first else found).square().mean()
            loss.backward()
            return loss

        optimizer.step(closure)  # as Lightning does: there are no gradients before
    return [value.detach() for value in parameters], optimizer


def fused_sgd(groups, **options):
    return make_fused(SGD, groups, **options)


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("first", [0, 1, 2])
def test_a_parameter_can_get_its_first_gradient_later_than_others(first, nesterov):
    options = {"momentum": 0.9, "nesterov": nesterov}
    fused, optimizer = late(fused_sgd, first, **options)
    plain, _ = late(lambda groups, **given: SGD(groups, foreach=False, **given), first, **options)
    assert optimizer.param_groups[0]["fused"]
    torch.testing.assert_close(fused, plain, rtol=1e-5, atol=1e-6)


def test_parameters_that_need_no_momentum_get_none():
    _, optimizer = late(fused_sgd, frozen=True, momentum=0.9)
    assert [value.requires_grad for value in optimizer.state] == [True, True]
    _, optimizer = late(fused_sgd, momentum=0.0)
    assert not any(state.get("momentum_buffer") is not None for state in optimizer.state.values())


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_gradients_can_be_clipped_in_mixed_precision(name):
    data = small_images(val=4)
    task = small_classification(data.class_names, optimizer=OptimizerOptions(name=name, lr=0.001, scale_lr=False))
    trainer = small_trainer(precision="bf16-mixed", gradient_clip_val=1.0, max_steps=1)
    trainer.fit(task, data)
    assert trainer.optimizers[0].param_groups[0]["fused"]
    assert trainer.global_step == 1
