"""FC-DenseNet compared with a plain implementation that concatenates for every layer."""

import pytest
import torch
from torch import nn

from visionkit.backbones import create_backbone
from visionkit.backbones.dense_block import DenseBlock
from visionkit.errors import CheckpointError, ConfigError
from visionkit.models import create_model

COUNTS = {"fc_densenet56": 1_376_795, "fc_densenet67": 3_463_243, "fc_densenet103": 9_322_091}


def small(num_classes=4, dropout=0.0, memory_efficient=False, **options):
    torch.manual_seed(0)
    backbone = create_backbone("fc_densenet56", weights="none", dropout=dropout, memory_efficient=memory_efficient)
    return create_model(
        "fc_densenet", backbone, num_classes, dropout=dropout, memory_efficient=memory_efficient, **options
    )


def by_the_paper(net, x):
    """Return the output of the same layers in a loop that concatenates all maps; 32 divides the size of x."""

    def block(part, x):
        added = []
        for layer in part.layers:
            added.append(layer.conv(torch.relu(layer.norm(x))))
            x = torch.cat([x, added[-1]], 1)
        return x, torch.cat(added, 1)

    skips = []
    for part in net.backbone.parts.values():
        x, added = block(part.block, part.entry(x))
        skips.append(x)
    for up, skip in zip(net.ups, skips[-2::-1], strict=True):
        enlarged = up.transition(added)
        x, added = block(up.block, torch.cat([enlarged[..., :-1, :-1], skip], 1))
    return net.classifier(x)


@pytest.mark.parametrize("name", COUNTS)
def test_parameters_are_the_published_number(name):
    with torch.device("meta"):
        net = create_model("fc_densenet", create_backbone(name, weights="checkpoint"), 11)
        assert sum(parameter.numel() for parameter in net.parameters()) == COUNTS[name]
        assert net(torch.empty(1, 3, 224, 224)).shape == (1, 11, 224, 224)
    layers = sum(isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)) for layer in net.modules())
    assert layers == int(name.removeprefix("fc_densenet"))


@pytest.mark.parametrize(("training", "memory_efficient"), [(True, True), (True, False), (False, False)])
def test_logits_and_gradients_equal_the_plain_loop(training, memory_efficient):
    net, reference = small(memory_efficient=memory_efficient).double(), small().double()
    for network in (net, reference):
        network.train(training)
    x = torch.randn(2, 3, 32, 32, dtype=torch.double)
    logits, expected = net(x), by_the_paper(reference, x)
    torch.testing.assert_close(logits, expected)
    for values in (logits, expected):
        values.square().sum().backward()
    named = dict(reference.named_parameters())
    for name, parameter in net.named_parameters():
        torch.testing.assert_close(parameter.grad, named[name].grad, msg=name)
    for name, value in net.named_buffers():
        torch.testing.assert_close(value, dict(reference.named_buffers())[name], msg=name)


@pytest.mark.parametrize("size", [(32, 32), (37, 61), (7, 5), (1, 1)])
def test_logits_have_the_input_size(size):
    net = small().eval()
    with torch.no_grad():
        logits = net(torch.randn(1, 3, *size))
    assert logits.shape == (1, 4, *size)
    assert logits.isfinite().all()


def test_a_block_of_synchronised_norms_takes_the_plain_loop():
    block = DenseBlock(4, 2, 3, 0.0, False)
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(block).eval()
    x = torch.randn(1, 4, 5, 5)
    torch.testing.assert_close(converted(x), block.eval().plain(x))


def test_one_value_a_channel_is_refused_in_training():
    with pytest.raises(ValueError, match=r"^Expected more than 1 value per channel"):
        small().train()(torch.randn(1, 3, 20, 20))


def test_dropout_stands_behind_every_convolution_but_first_and_last():
    net = small(dropout=0.2).train()
    blocks = [part for part in net.modules() if isinstance(part, DenseBlock)]
    assert {block.dropout for block in blocks} == {0.2}
    assert [layer.p for layer in net.modules() if isinstance(layer, nn.Dropout)] == [0.2] * 5
    x = torch.randn(2, 3, 32, 32)
    assert not torch.equal(net(x), net(x))
    assert torch.equal(net.eval()(x), net(x))


def test_starting_values_are_hes():
    with torch.random.fork_rng():
        net = small()
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d) and layer.weight.numel() > 3000:
            fan_in = layer.weight[0].numel()
            assert float(layer.weight.detach().abs().max()) <= (6 / fan_in) ** 0.5
            assert float(layer.weight.detach().std()) == pytest.approx((2 / fan_in) ** 0.5, rel=0.05)
            assert not layer.bias.any()


def test_a_file_gives_all_but_the_last_layer_for_other_classes(tmp_path):
    net = small()
    torch.save(net.state_dict(), tmp_path / "net.pth")
    same = small(weights=str(tmp_path / "net.pth"))
    assert all(torch.equal(value, same.state_dict()[key]) for key, value in net.state_dict().items())
    assert not same.backbone.is_randomly_initialized
    other = small(num_classes=7, weights=str(tmp_path / "net.pth"))
    assert torch.equal(other.ups[0].transition.weight, net.ups[0].transition.weight)
    assert other.classifier.weight.shape[0] == 7
    torch.save({"a": torch.zeros(1)}, tmp_path / "none.pth")
    with pytest.raises(CheckpointError, match="does not fit FCDenseNet"):
        small(weights=str(tmp_path / "none.pth"))


def test_spec_rebuilds_the_network():
    net = small(dropout=0.1)
    spec = dict(net.spec)
    again = create_model(spec.pop("name"), create_backbone(**spec.pop("backbone")), **spec)
    again.load_state_dict(net.state_dict())
    assert again.spec == net.spec


@pytest.mark.parametrize("options", [{"name": "resnet18"}, {"name": "fc_densenet56", "out_stages": ["s16"]}])
def test_another_backbone_is_refused(options):
    with pytest.raises(ConfigError, match="as built is not its encoder"):
        create_model("fc_densenet", create_backbone(weights="none", **options), 4)
