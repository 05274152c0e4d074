"""FRRN compared with the layer table of the paper, unit by unit."""

import pytest
import torch
from torch.nn import functional

from visionkit.backbones import create_backbone
from visionkit.errors import ConfigError
from visionkit.models import create_model
from visionkit.ops.upsampling import bilinear

LEVELS = {
    "frrn_a": [(2, 96, 3), (4, 192, 4), (8, 384, 2), (16, 384, 2), (8, 192, 2), (4, 192, 2), (2, 96, 2)],
    "frrn_b": [
        *[(2, 96, 3), (4, 192, 4), (8, 384, 2), (16, 384, 2), (32, 384, 2)],
        *[(16, 192, 2), (8, 192, 2), (4, 192, 2), (2, 96, 2)],
    ],
}


def network(name="frrn_a", num_classes=3, **options):
    torch.manual_seed(0)
    return create_model("frrn", create_backbone(name, weights="none"), num_classes, **options)


def expected_count(name, classes):
    """Convolutions without bias and their norms; 1x1 ones back to the residual stream have a bias and no norm."""
    normed = 3 * 48 * 25 + 2 * 48 + 3 * 2 * (48 * 48 * 9 + 2 * 48) + 48 * 32 + 2 * 32
    plain, channels = 0, 48
    for _, width, units in LEVELS[name]:
        for _ in range(units):
            normed += (channels + 32) * width * 9 + width * width * 9 + 4 * width
            plain += width * 32 + 32
            channels = width
    met = channels + 32
    after = met * 48 + met * 48 * 9 + 5 * 48 * 48 * 9 + 6 * 2 * 48  # the first unit narrows, with a 1x1 beside it
    return normed + plain + after + 48 * classes + classes


@pytest.mark.parametrize(("name", "published"), [("frrn_a", 17.7e6), ("frrn_b", 24.8e6)])
def test_layers_are_those_of_the_table(name, published):
    with torch.device("meta"):
        net = create_model("frrn", create_backbone(name, weights="checkpoint"), 19)
    assert [(level.stride, len(level.units)) for level in (*net.backbone.down, *net.backbone.up)] == [
        (stride, units) for stride, _, units in LEVELS[name]
    ]
    count = sum(parameter.numel() for parameter in net.parameters())
    assert count == expected_count(name, 19)
    assert count == pytest.approx(published, abs=0.05e6)


@pytest.mark.parametrize("name", LEVELS)
def test_the_streams_run_as_the_paper_says(name):
    net = network(name).eval()
    trunk = net.backbone
    x = torch.randn(1, 3, 32, 64)
    with torch.no_grad():
        y = trunk.before(trunk.stem(x))
        z = trunk.to_residual(y)
        stride_before = 1
        for level, (stride, _, _) in zip((*trunk.down, *trunk.up), LEVELS[name], strict=True):
            y = functional.max_pool2d(y, 2) if stride > stride_before else bilinear(y)
            for unit in level.units:
                y = unit.convs(torch.cat([y, functional.max_pool2d(z, stride)], 1))
                z = z + unit.residual(y).repeat_interleave(stride, 2).repeat_interleave(stride, 3)
            stride_before = stride
        met = torch.cat([bilinear(y), z], 1)
        narrowed = trunk.after[0].shortcut(met) + trunk.after[0].convs(met)
        expected = net.classifier(trunk.after[2](trunk.after[1](narrowed)))
        logits = net(x)
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize("size", [(37, 21), (5, 40), (1, 1)])
def test_logits_have_the_input_size(size):
    net = network().eval()
    with torch.no_grad():
        logits = net(torch.randn(1, 3, *size))
    assert logits.shape == (1, 3, *size)
    assert logits.isfinite().all()


def test_a_file_gives_all_but_the_last_layer_for_other_classes(tmp_path):
    net = network()
    torch.save(net.state_dict(), tmp_path / "net.pth")
    other = network(num_classes=5, weights=str(tmp_path / "net.pth"))
    assert torch.equal(other.backbone.to_residual.conv.weight, net.backbone.to_residual.conv.weight)
    assert other.classifier.weight.shape[0] == 5


def test_another_backbone_is_refused():
    with pytest.raises(ConfigError, match="use frrn_a or frrn_b"):
        create_model("frrn", create_backbone("resnet18", weights="none"), 3)
