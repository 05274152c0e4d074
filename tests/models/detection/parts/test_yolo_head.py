import torch
from torch import nn

from visionkit.models.detection.parts.yolo_head import conv_bn_leaky, prediction_layer, split_boxes


def test_split_boxes_follows_rows_cells_and_boxes():
    output = torch.arange(2 * 6 * 2 * 3).view(2, 6, 2, 3)
    split = split_boxes(output, boxes=2)
    assert split.shape == (2, 2 * 3 * 2, 3)
    for row in range(2):
        for column in range(3):
            for box in range(2):
                expected = output[1, 3 * box : 3 * box + 3, row, column]
                assert torch.equal(split[1, (row * 3 + column) * 2 + box], expected)


def test_predictions_start_near_zero():
    torch.manual_seed(0)
    layer = prediction_layer(16, 8)
    with torch.no_grad():
        assert layer(torch.randn(2, 16, 4, 4)).abs().max() < 0.3
    assert layer.bias.abs().max() == 0


def test_convolution_keeps_the_size_or_halves_it():
    x = torch.randn(2, 3, 8, 10)
    assert conv_bn_leaky(3, 4)(x).shape == (2, 4, 8, 10)
    assert conv_bn_leaky(3, 4, kernel_size=1)(x).shape == (2, 4, 8, 10)
    layers = conv_bn_leaky(3, 4, stride=2)
    assert layers(x).shape == (2, 4, 4, 5)
    assert [type(layer) for layer in layers] == [nn.Conv2d, nn.BatchNorm2d, nn.LeakyReLU]
