import pytest
import torch
from torch import nn

from visionkit.backbones import create_backbone
from visionkit.errors import ConfigError
from visionkit.models.base import Model
from visionkit.tasks.optimizers import OptimizerOptions, optimizers, parameter_groups, scaled_lr


class Network(Model):
    def __init__(self, backbone, head):
        super().__init__()
        self.backbone, self.head = backbone, head


def network():
    return Network(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)), nn.Linear(4, 2))


def test_rmsprop_divides_by_the_root_of_the_running_square():
    weight = nn.Parameter(torch.tensor([1.0, 1.0, 1.0]))
    options = OptimizerOptions(name="rmsprop", lr=0.5, weight_decay=0.1)
    (group,) = parameter_groups(Network(nn.Identity(), nn.ParameterList([weight])), options)
    optimizer = optimizers.get("rmsprop")([group], options)
    value, square = torch.ones(3), torch.zeros(3)
    for slope in (torch.tensor([2.0, -1.0, 1e-3]), torch.tensor([0.5, 3.0, 1e-3])):
        weight.grad = slope.clone()
        optimizer.step()
        decayed = slope + 0.1 * value
        square = 0.9 * square + 0.1 * decayed**2
        value = value - 0.5 * decayed / (square.sqrt() + 1e-3)
    torch.testing.assert_close(weight.detach(), value)


def test_the_backbone_has_its_own_rate_and_norms_may_be_spared_decay():
    model = network()
    options = OptimizerOptions(lr=1.0, backbone_lr_factor=0.1, weight_decay=0.5, decay_norm=False)
    groups = parameter_groups(model, options)
    by_rate = {(group["lr"], group["weight_decay"]): len(group["params"]) for group in groups}
    assert by_rate == {(0.1, 0.5): 1, (0.1, 0.0): 3, (1.0, 0.5): 1, (1.0, 0.0): 1}


def test_the_rate_falls_from_stage_to_stage_below_the_head():
    backbone = create_backbone("cifar_resnet20", weights="none")
    model = Network(backbone, nn.Linear(4, 2))
    options = OptimizerOptions(lr=1.0, backbone_lr_factor=0.8, stage_lr_decay=0.5)
    groups = parameter_groups(model, options)
    rate = {group["part"]: group["lr"] for group in groups}
    assert rate == pytest.approx({"s1": 0.1, "s2": 0.2, "s4": 0.4, "head": 1.0})
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))
    (first,) = (group for group in groups if group["part"] == "s1")
    assert any(parameter is next(backbone.parameters()) for parameter in first["params"]), "the stem is of the first"
    with pytest.raises(ConfigError, match="stage_lr_decay needs a backbone of visionkit"):
        parameter_groups(network(), options)


def test_frozen_parameters_are_left_out_and_nothing_to_train_is_an_error():
    model = network()
    model.backbone.requires_grad_(False)
    groups = parameter_groups(model, OptimizerOptions())
    assert sum(len(group["params"]) for group in groups) == 2
    model.requires_grad_(False)
    with pytest.raises(ConfigError, match="nothing is left to train"):
        parameter_groups(model, OptimizerOptions())


@pytest.mark.parametrize(("batch", "scale", "expected"), [(16, True, 0.02), (2, True, 0.0025), (2, False, 0.02)])
def test_the_rate_follows_the_effective_batch(batch, scale, expected):
    assert scaled_lr(OptimizerOptions(scale_lr=scale), batch) == pytest.approx(expected)


@pytest.mark.parametrize("name", list(optimizers))
def test_every_optimizer_is_made_from_groups(name):
    model = network()
    options = OptimizerOptions(name=name, lr=0.5)
    optimizer = optimizers.get(name)(parameter_groups(model, options), options)
    assert optimizer.param_groups[0]["lr"] == 0.5


def test_names_are_those_of_the_registry():
    for name in optimizers:
        assert OptimizerOptions(name=name).name == name
    with pytest.raises(ConfigError, match="unknown optimizer 'sdg'; did you mean sgd"):
        OptimizerOptions(name="sdg")


@pytest.mark.parametrize(("images", "lr"), [(8, 0.5), (16, 1.0), (1, 1 / 16), (512, 32.0)])
def test_the_learning_rate_is_proportional_to_the_batch(images, lr):
    assert scaled_lr(OptimizerOptions(lr=1.0, base_batch_size=16), images) == pytest.approx(lr)


@pytest.mark.parametrize(("images", "base", "factor"), [(1, 256, 1 / 16), (65_536, 256, 32.0)])
def test_the_factor_on_the_learning_rate_has_limits(images, base, factor, caplog):
    assert scaled_lr(OptimizerOptions(lr=1.0, base_batch_size=base), images) == factor
    assert "set optimizer.lr yourself" in caplog.text
