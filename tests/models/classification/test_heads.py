"""Each head alone: dense outputs equal those of a window that slides over the map."""

import pytest
import torch

from tests.helpers.classifiers import classifier
from visionkit.backbones import create_backbone
from visionkit.errors import ConfigError
from visionkit.models.classification.heads import heads
from visionkit.models.classification.lenet_heads import RadialUnits

CELLS = {"average": 7, "vgg": 7, "alexnet": 6, "lenet5": 5, "lenet5_modern": 5, "googlenet": 7}


@pytest.fixture(scope="module")
def backbone():
    return create_backbone("googlenet", weights="none")


@pytest.mark.parametrize("name", heads)
def test_dense_answers_are_those_of_a_sliding_window(name, backbone, narrow):
    torch.manual_seed(0)
    head = heads.get(name)(backbone, 3, None).eval()
    cells = CELLS[name]
    map_ = torch.randn(2, 1024, cells + 2, cells + 1)
    with torch.no_grad():
        dense = head.fully_convolutional(map_)
        assert dense.shape == (2, 3, 3, 2)
        for row in range(3):
            for column in range(2):
                window = map_[:, :, row : row + cells, column : column + cells]
                torch.testing.assert_close(dense[:, :, row, column], head(window), rtol=1e-4, atol=1e-4)
        assert dense.flatten(2).std(-1).min() > 0


def test_dense_answers_of_an_unpadded_network_are_those_of_the_images_parts():
    torch.manual_seed(0)
    network = classifier("lenet5", 4).eval()
    image = torch.randn(1, 3, 40, 36)
    with torch.no_grad():
        dense = network.fully_convolutional(image)
        assert dense.shape == (1, 4, 3, 2)
        for row in range(3):
            for column in range(2):
                part = image[:, :, 4 * row : 4 * row + 32, 4 * column : 4 * column + 32]
                torch.testing.assert_close(dense[:, :, row, column], network(part), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["resnet18", "cifar_resnet20"])
def test_a_image_of_the_native_size_has_one_dense_answer(name):
    network = classifier(name).eval()
    image = torch.randn(1, 3, network.backbone.native_size, network.backbone.native_size)
    with torch.no_grad():
        torch.testing.assert_close(network.fully_convolutional(image)[:, :, 0, 0], network(image), rtol=1e-4, atol=1e-4)


def test_a_smaller_map_has_one_average_but_no_fully_connected_answer(backbone, narrow):
    map_ = torch.randn(2, 1024, 3, 4)
    average = heads.get("average")(backbone, 3, None).eval()
    assert average.fully_convolutional(map_).shape == (2, 3, 1, 1)
    torch.testing.assert_close(average.fully_convolutional(map_)[:, :, 0, 0], average(map_), rtol=1e-4, atol=1e-4)
    with pytest.raises(ConfigError, match="at least 7x7 cells, not 3x4"):
        heads.get("vgg")(backbone, 3, None).fully_convolutional(map_)


def test_dense_answers_train(backbone, narrow):
    head = heads.get("vgg")(backbone, 3, None)
    head.fully_convolutional(torch.randn(1, 1024, 8, 8)).sum().backward()
    assert all(parameter.grad is not None for parameter in head.parameters())


def test_alexnets_hidden_units_begin_alive(backbone, narrow):
    layers = heads.get("alexnet")(backbone, 3, None).layers
    assert [float(layer.bias.detach().mean()) for layer in (layers.fc6, layers.fc7, layers.fc8)] == [1, 1, 0]
    assert 0.005 < float(layers.fc6.weight.std()) < 0.015


def test_radial_units_give_negative_squared_distances():
    units = RadialUnits(12)
    x = torch.randn(5, 84)
    expected = -((x[:, None] - units.codes) ** 2).sum(-1)
    torch.testing.assert_close(units(x), expected, rtol=1e-4, atol=1e-3)
    assert units(units.codes).argmax(-1).tolist() == list(range(12))


def test_radial_codes_are_fixed_far_apart_and_the_same_for_all():
    units = RadialUnits(100)
    assert list(units.parameters()) == []
    assert units.codes.unique().tolist() == [-1, 1]
    torch.manual_seed(5)
    assert torch.equal(units.codes, RadialUnits(100).codes)
    apart = (units.codes[:, None] != units.codes).sum(-1) + 84 * torch.eye(100)
    assert apart.min() > 20
