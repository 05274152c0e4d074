"""Patch classifier: dense form, loop over patches, and patches cut by the test give the same logits."""

import pytest
import torch
from torch.nn import functional

from visionkit.backbones import create_backbone
from visionkit.errors import ConfigError
from visionkit.models import create_model


def classifier(name="patch_cnn_33", num_classes=3, **options):
    torch.manual_seed(0)
    return create_model("patch_classifier", create_backbone(name, weights="none"), num_classes, **options)


@pytest.mark.parametrize(
    ("name", "size"),
    [("patch_cnn_33", (9, 14)), ("patch_cnn_33", (1, 5)), ("patch_cnn_65", (3, 2)), ("patch_cnn_95", (2, 3))],
)
def test_the_dense_form_gives_the_logits_of_the_loop(name, size):
    net = classifier(name).double().eval()
    x = torch.randn(2, 3, *size, dtype=torch.double)
    with torch.no_grad():
        dense, naive = net(x), net.naive(x, patches_at_once=50)
    assert dense.shape == naive.shape == (2, 3, *size)
    torch.testing.assert_close(dense, naive, rtol=0, atol=1e-5)
    assert float(naive.std()) > 1e-3


def test_single_precision_agrees_as_well():
    net = classifier().eval()
    x = torch.randn(1, 3, 8, 9)
    with torch.no_grad():
        torch.testing.assert_close(net(x), net.naive(x), rtol=0, atol=1e-5)


def test_a_pixel_is_labeled_from_the_patch_around_it():
    net = classifier().eval()
    x = torch.randn(1, 3, 40, 50)
    with torch.no_grad():
        maps = list(net.backbone(x[:, :, 3:36, 5:38]).values())[-1]
        expected = net.classifier(functional.relu(net.hidden(maps)))[0, :, 0, 0]
        torch.testing.assert_close(net(x)[0, :, 3 + 16, 5 + 16], expected, rtol=0, atol=1e-5)


def test_gradients_of_both_forms_are_the_same():
    net = classifier().double()
    x = torch.randn(1, 3, 6, 5, dtype=torch.double)
    slopes = [torch.autograd.grad(form(x).square().sum(), list(net.parameters())) for form in (net, net.naive)]
    for dense, naive in zip(*slopes, strict=True):
        torch.testing.assert_close(dense, naive)


def test_the_border_is_mirrored():
    net = classifier()
    x = torch.randn(2, 3, 20, 24)
    torch.testing.assert_close(net._with_border(x), functional.pad(x, (16, 16, 16, 16), mode="reflect"))


def test_parameters_of_the_papers_network():
    layers = [
        48 * (3 * 16 + 1),
        48 * (48 * 25 + 1),
        48 * (48 * 16 + 1),
        48 * (48 * 16 + 1),
        200 * (48 * 9 + 1),
        201 * 2,
    ]
    net = classifier("patch_cnn_95", num_classes=2)
    assert sum(parameter.numel() for parameter in net.parameters()) == sum(layers)


@pytest.mark.parametrize("options", [{"name": "resnet18"}, {"name": "patch_cnn_33", "out_stages": ["s2"]}])
def test_another_backbone_is_refused(options):
    with pytest.raises(ConfigError, match="does not classify patches"):
        create_model("patch_classifier", create_backbone(weights="none", **options), 3)


def test_a_file_gives_all_but_the_last_layer_for_other_classes(tmp_path):
    net = classifier()
    torch.save(net.state_dict(), tmp_path / "net.pth")
    other = classifier(num_classes=5, weights=str(tmp_path / "net.pth"))
    assert torch.equal(other.hidden.weight, net.hidden.weight)
    assert other.classifier.weight.shape[0] == 5
