"""The classification network: its published size, torchvision's logits, and a description that rebuilds it."""

import json

import pytest
import torch
import torchvision
from torch import nn

from tests.helpers.classifiers import classifier, randomized, without_values
from visionkit.backbones import create_backbone
from visionkit.errors import ConfigError
from visionkit.models import create_model

COUNTS = {
    ("lenet5", 10): 60_000,  # C1 to F6: the output units are fixed
    ("lenet5_modern", 10): 61_706,
    ("alexnet", 1000): 60_965_224,
    ("zfnet", 1000): 62_357_608,  # added up by hand from figure 3; the paper gives none
    ("vgg11", 1000): 132_863_336,
    ("vgg11_lrn", 1000): 132_863_336,
    ("vgg13", 1000): 133_047_848,
    ("vgg16_c", 1000): 133_638_952,
    ("vgg16", 1000): 138_357_544,
    ("vgg19", 1000): 143_667_240,
    ("googlenet", 1000): 13_004_888,
    ("resnet18", 1000): 11_689_512,
    ("resnet34", 1000): 21_797_672,
    ("resnet50", 1000): 25_557_032,
    ("resnet101", 1000): 44_549_160,
    ("resnet152", 1000): 60_192_808,
    ("cifar_resnet20", 10): 269_722,
    ("cifar_resnet32", 10): 464_154,
    ("cifar_resnet44", 10): 658_586,
    ("cifar_resnet56", 10): 853_018,
    ("cifar_resnet110", 10): 1_727_962,
    ("cifar_resnet1202", 10): 19_421_274,
    ("densenet121", 1000): 7_978_856,
    ("densenet169", 1000): 14_149_480,
    ("densenet201", 1000): 20_013_928,
    ("densenet161", 1000): 28_681_000,
    ("cifar_densenet_40_12", 10): 1_019_722,
    ("cifar_densenet_100_12", 10): 6_979_642,
    ("cifar_densenet_100_24", 10): 27_249_082,
    ("cifar_densenet_bc_100_12", 10): 769_162,
    ("cifar_densenet_bc_250_24", 10): 15_324_406,
    ("cifar_densenet_bc_190_40", 10): 25_624_430,
}


@pytest.mark.parametrize(("name", "num_classes"), COUNTS)
def test_parameters_are_as_many_as_published(name, num_classes):
    network = without_values(name, num_classes)
    assert sum(parameter.numel() for parameter in network.parameters()) == COUNTS[name, num_classes]


def give(network, theirs):
    """Copy the weights of torchvision's network into ours."""
    state = theirs.state_dict()
    network.backbone.load_state_dict(network.backbone.translate(state), assign=True)
    network.head.load_state_dict(network.head.translate(state), assign=True)
    return network


@pytest.mark.parametrize("name", ["resnet18", "densenet121", "googlenet"])
def test_logits_are_torchvisions(name):
    torch.manual_seed(0)
    options = {"init_weights": False} if name == "googlenet" else {}
    theirs = randomized(torchvision.models.get_model(name, num_classes=7, **options)).eval()
    ours = give(without_values(name, 7), theirs).eval()
    image = torch.randn(2, 3, 65, 97)
    with torch.no_grad():
        torch.testing.assert_close(ours(image), theirs(image), rtol=1e-5, atol=1e-5)


def test_logits_are_those_of_torchvisions_vgg():
    torch.manual_seed(0)
    with torch.device("meta"):
        theirs = torchvision.models.vgg11(num_classes=7)
    theirs.to_empty(device="cpu").eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            pattern = torch.randn(min(parameter.numel(), 9973)) * 0.02  # cheaper than drawing 129 million numbers
            repeats = -(-parameter.numel() // pattern.numel())
            parameter.copy_(pattern.repeat(repeats)[: parameter.numel()].view_as(parameter))
    ours = give(without_values("vgg11", 7), theirs).eval()
    image = torch.randn(1, 3, 65, 97)
    with torch.no_grad():
        logits = theirs(image)
        torch.testing.assert_close(ours(image), logits, rtol=1e-5, atol=1e-5)
    assert logits.std() > 1e-4


def test_auxiliary_logits_are_torchvisions():
    torch.manual_seed(0)
    theirs = torchvision.models.googlenet(num_classes=7, init_weights=False, dropout=0.0, dropout_aux=0.0)
    ours = give(without_values("googlenet", 7, dropout=0.0), theirs).train()
    ours.head.aux1.dropout.p = ours.head.aux2.dropout.p = 0.0
    image = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        expected = theirs.train()(image)
        answers = ours.weighted_logits(image)
    assert [weight for weight, _ in answers] == [1.0, 0.3, 0.3]
    for (_, logits), their_logits in zip(
        answers, (expected.logits, expected.aux_logits1, expected.aux_logits2), strict=True
    ):
        torch.testing.assert_close(logits, their_logits, rtol=1e-5, atol=1e-5)


def test_evaluation_has_the_main_head_alone():
    network = classifier("googlenet").eval()
    image = torch.randn(2, 3, 40, 50)
    [(weight, logits)] = network.weighted_logits(image)
    assert weight == 1
    assert torch.equal(logits, network(image))


def test_auxiliary_heads_reach_every_parameter_of_theirs():
    network = classifier("googlenet").train()
    losses = [w * logits.square().sum() for w, logits in network.weighted_logits(torch.randn(2, 3, 64, 64))]
    torch.stack(losses).sum().backward()
    assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize(
    ("name", "usual"),
    [("timm/resnet18", "AverageHead"), ("zfnet", "AlexNetHead"), ("vgg11_bn", "VGGHead"), ("lenet5", "LeNet5Head")],
)
def test_auto_takes_the_published_head(name, usual):
    assert type(without_values(name, 3).head).__name__ == usual


@pytest.mark.parametrize(
    ("name", "options", "shares"),
    [
        ("vgg11", {}, {0.5}),
        ("vgg11", {"dropout": 0.0}, {0.0}),
        ("alexnet", {}, {0.5}),
        ("resnet18", {}, {0.0}),
        ("resnet18", {"dropout": 0.3}, {0.3}),
        ("googlenet", {}, {0.2, 0.7}),
        ("googlenet", {"dropout": 0.4}, {0.4, 0.7}),
        ("lenet5", {"dropout": 0.1}, {0.1}),
    ],
)
def test_dropout_is_the_published_one_or_that_asked_for(name, options, shares):
    head = without_values(name, 3, **options).head
    assert {layer.p for layer in head.modules() if isinstance(layer, nn.Dropout)} == shares


@pytest.mark.parametrize("name", ["resnet18", "lenet5", "googlenet", "cifar_resnet20", "cifar_densenet_40_12"])
def test_spec_rebuilds_the_structure(name):
    network = classifier(name, dropout=0.3, initialization="he")
    spec = json.loads(json.dumps(network.spec))
    backbone = create_backbone(**spec.pop("backbone"))
    again = create_model(backbone=backbone, **spec)
    assert again.spec == network.spec
    again.load_state_dict(network.state_dict())


@pytest.mark.parametrize(("options", "multi_label"), [({}, False), ({"multi_label": True}, True)])
def test_multi_label_is_an_option_of_the_model_and_part_of_its_spec(options, multi_label):
    network = classifier("lenet5", **options)
    assert network.multi_label is multi_label
    assert network.spec["multi_label"] is multi_label


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"head": "averge"}, ["head", "average"]),
        ({"num_classes": 0}, ["num_classes=0"]),
        ({"initialization": "hee"}, ["initialization", "he"]),
        ({"head": "googlenet"}, ["resnet18", "head=average"]),
    ],
)
def test_a_wrong_argument_is_named(options, words):
    with pytest.raises(ConfigError) as caught:
        classifier("resnet18", **options)
    assert [word for word in words if word not in str(caught.value)] == []
    assert len(str(caught.value).splitlines()) <= 5


def test_a_googlenet_with_fewer_stages_has_no_maps_for_the_auxiliary_heads():
    backbone = create_backbone("googlenet", weights="none", out_stages=["s8"])
    with pytest.raises(ConfigError, match="as built"):
        create_model("classifier", backbone, 3)
    image = torch.randn(1, 3, 40, 40)
    assert create_model("classifier", backbone, 3, head="average").eval()(image).shape == (1, 3)
