"""The machine: its pretrained weights and its speed."""

import pytest
import torch
import torchvision

from visionkit.backbones import create_backbone
from visionkit.backbones.published_weights import PublishedWeights
from visionkit.cli.automatic import machine
from visionkit.cli.automatic.machine import first_with_weights, this_machine, training_speed


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """An empty folder of weights."""
    monkeypatch.setenv("VISIONKIT_WEIGHTS", str(tmp_path))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    return tmp_path


def save(name, folder):
    torch.save(torchvision.models.get_model(name, weights=None).state_dict(), folder / f"{name}-imagenet.pth")


def test_without_weights_there_is_no_backbone(weights):
    assert first_with_weights(["resnet18", "resnet50"]) is None
    assert this_machine(None, measure=False).backbone is None


def test_weights_on_disk_precede_those_to_download(weights, monkeypatch):
    monkeypatch.setattr(PublishedWeights, "is_reachable", lambda self: True)
    assert first_with_weights(["resnet50", "resnet18"]) == "resnet50"
    save("resnet18", weights)
    assert first_with_weights(["resnet50", "resnet18"]) == "resnet18"


def test_networks_without_published_weights_and_of_missing_packages_are_passed_over(weights):
    save("resnet18", weights)
    assert first_with_weights(["unet", "timm/no_such_model", "resnet18"]) == "resnet18"


def test_the_backbone_that_is_asked_for_is_kept(weights):
    save("resnet18", weights)
    found = this_machine("resnet18", measure=False)
    assert (found.asked_for, found.backbone, found.speed) == ("resnet18", "resnet18", 0.0)
    assert this_machine("vgg11", measure=False).backbone is None


def test_a_smaller_network_is_faster():
    small, large = (training_speed(create_backbone(name, weights="none"), 0.1) for name in ("cifar_resnet20", "vgg16"))
    assert small > 2 * large > 0


def test_the_measurement_leaves_no_gradients():
    backbone = create_backbone("cifar_resnet20", weights="none")
    training_speed(backbone, 0.01)
    assert all(parameter.grad is None for parameter in backbone.parameters())


def test_the_processes_of_a_run_share_the_measurement_of_the_first(weights, monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.delenv("SLURM_NTASKS", raising=False)
    monkeypatch.setenv(machine.SPEED_VARIABLE, "0")
    monkeypatch.setattr(machine, "training_speed", lambda backbone: 2.5)
    assert this_machine("resnet18", measure=True).speed == 2.5
    monkeypatch.setattr(machine, "training_speed", lambda backbone: 1.5)
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert this_machine("resnet18", measure=True).speed == 2.5, "from the environment of the first process"
    monkeypatch.delenv(machine.SPEED_VARIABLE)
    assert this_machine("resnet18", measure=True).speed == 0.0, "torchrun starts all processes at once"
    monkeypatch.delenv("WORLD_SIZE")
    monkeypatch.setenv("SLURM_NTASKS", "2")
    assert this_machine("resnet18", measure=True).speed == 0.0, "srun too"
    monkeypatch.setenv("SLURM_NTASKS", "1")
    assert this_machine("resnet18", measure=True).speed == 1.5
