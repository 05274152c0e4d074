"""Contract of every registered backbone and of the timm adapter."""

import copy
import functools
import json
from math import ceil

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from visionkit.backbones import Stage, backbones, create_backbone
from visionkit.backbones.base import Backbone
from visionkit.errors import ConfigError

TIMM = ["timm/tf_efficientnet_lite0", "timm/resnet18"]
VERY_DEEP = "cifar_resnet1202"  # takes seconds even without numbers; only its count is checked
EVERY = [*(name for name in backbones if not name.endswith("/") and name != VERY_DEEP), *TIMM]
# Deeper sisters of others in the list: their shapes are checked without numbers, they are not trained here.
SHAPES_ONLY = {f"resnet{depth}" for depth in (34, 101, 152)}
SHAPES_ONLY |= {f"vgg{depth}{kind}" for depth in (13, 16, 19) for kind in ("", "_bn")}
SHAPES_ONLY |= {"vgg11_lrn", "vgg16_c", "vgg16_atrous"}
SHAPES_ONLY |= {f"densenet{depth}" for depth in (161, 169, 201)}
SHAPES_ONLY |= {f"cifar_resnet{depth}" for depth in (32, 44, 56, 110)}
SHAPES_ONLY |= {name for name in EVERY if name.startswith("cifar_densenet") and not name.endswith("_40_12")}
SHAPES_ONLY |= {"fc_densenet67", "fc_densenet103", "frrn_b", "patch_cnn_65", "patch_cnn_95"}
TRAINED = [name for name in EVERY if name not in SHAPES_ONLY]
WITHOUT_NORM = ("vgg11", "alexnet", "zfnet", "lenet5", "lenet5_modern", "patch_cnn_33", "unet")
WITH_NORM = [name for name in TRAINED if name not in WITHOUT_NORM]

PUBLISHED_COUNTS = {
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
    "vgg11": 132_863_336,
    "vgg13": 133_047_848,
    "vgg16": 138_357_544,
    "vgg19": 143_667_240,
    "densenet121": 7_978_856,
    "densenet161": 28_681_000,
    "densenet169": 14_149_480,
    "densenet201": 20_013_928,
}


@pytest.fixture
def numbers():
    torch.manual_seed(0)


@pytest.fixture
def image(numbers, request):
    """Two images of 33 x 47 pixels, plus the margin that unpadded convolutions of the network cut off."""
    name = getattr(getattr(request.node, "callspec", None), "params", {}).get("name")
    lost = margin(described(name)) if name else 0
    return torch.randn(2, 3, 33 + lost, 47 + lost)


def margin(backbone: Backbone) -> int:
    return list(backbone.stages.values())[-1].margin


def without_values(name: str, **options) -> Backbone:
    with torch.device("meta"):
        return create_backbone(name, weights="checkpoint", **options)


@functools.cache
def described(name: str) -> Backbone:
    """Return the backbone without values in evaluation mode, built once; not to be changed by a test."""
    return without_values(name).eval()


def trainable(network: nn.Module) -> set[str]:
    return {name for name, parameter in network.named_parameters() if parameter.requires_grad}


def norms(network: nn.Module) -> dict[str, _BatchNorm]:
    return {name: module for name, module in network.named_modules() if isinstance(module, _BatchNorm)}


def train_once(network: nn.Module, image: torch.Tensor) -> None:
    """Run one backward pass through all trainable maps; random weights keep the gradients from canceling."""
    loss = sum((stage * torch.randn_like(stage)).sum() for stage in network(image).values())
    if trainable(network):
        loss.backward()


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("size", [(33, 47), (64, 96), (97, 65)])
def test_maps_have_the_promised_channels_and_strides(name, size):
    backbone = described(name)
    size = tuple(extent + margin(backbone) for extent in size)
    features = backbone(torch.empty(2, 3, *size, device="meta"))
    assert list(features) == list(backbone.stages)
    assert [stage.stride for stage in backbone.stages.values()] == sorted({s.stride for s in backbone.stages.values()})
    for name, stage in backbone.stages.items():
        assert name == f"s{stage.stride}"
        assert features[name].shape[:2] == (2, stage.channels)
        for extent, pixels in zip(features[name].shape[2:], size, strict=True):
            covered = pixels - stage.margin
            assert covered // stage.stride <= extent <= ceil(covered / stage.stride)


@pytest.mark.parametrize(
    ("name", "extents"),
    [
        ("resnet18", [9, 5, 3, 2]),  # each halving rounds up
        ("resnet50", [9, 5, 3, 2]),
        ("vgg16", [33, 16, 8, 4, 2, 1]),  # each pool rounds down
        ("densenet121", [9, 4, 2, 1]),  # the stem rounds up, the transitions down
        ("googlenet", [17, 8, 4, 2, 1]),
        ("cifar_resnet20", [33, 17, 9]),
        ("cifar_densenet_40_12", [33, 16, 8]),
        ("fc_densenet56", [33, 16, 8, 4, 2, 1]),
        ("patch_cnn_33", [15, 6, 2]),
        ("lenet5", [29, 10, 5]),
        ("timm/tf_efficientnet_lite0", [17, 9, 5, 3, 2]),
        ("timm/resnet18", [17, 9, 5, 3, 2]),
    ],
)
def test_odd_extents_round_as_the_family_does(name, extents):
    features = described(name)(torch.empty(1, 3, 33, 33, device="meta"))
    assert [feature.shape[-1] for feature in features.values()] == extents


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        ("resnet34", [64, 128, 256, 512]),
        ("resnet101", [256, 512, 1024, 2048]),
        ("vgg19_bn", [64, 128, 256, 512, 512, 512]),
        ("densenet121", [256, 512, 1024, 1024]),
        ("densenet161", [384, 768, 2112, 2208]),
        ("googlenet", [64, 192, 480, 832, 1024]),
        ("cifar_densenet_40_12", [160, 304, 448]),
        ("cifar_densenet_bc_100_12", [216, 300, 342]),
        ("fc_densenet103", [112, 192, 304, 464, 656, 896]),
        ("timm/tf_efficientnet_lite0", [16, 24, 40, 112, 320]),
    ],
)
def test_channels_are_the_published_ones(name, channels):
    assert [stage.channels for stage in described(name).stages.values()] == channels


@pytest.mark.parametrize(
    ("name", "extents"),
    [
        ("alexnet", [55, 27, 13, 6]),
        ("zfnet", [110, 55, 26, 13, 6]),
        ("vgg16_c", [224, 112, 56, 28, 14, 7]),
        ("googlenet", [112, 56, 28, 14, 7]),
        ("lenet5", [28, 10, 5]),
        ("lenet5_modern", [28, 10, 5]),
        ("patch_cnn_65", [31, 14, 6, 2]),
        ("patch_cnn_95", [46, 21, 9, 3]),
        ("cifar_resnet20", [32, 16, 8]),
        ("cifar_densenet_40_12", [32, 16, 8]),
    ],
)
def test_the_native_size_gives_the_published_maps(name, extents):
    backbone = described(name)
    features = backbone(torch.empty(1, 3, backbone.native_size, backbone.native_size, device="meta"))
    assert [feature.shape[-1] for feature in features.values()] == extents


@pytest.mark.parametrize(("output_stride", "extents"), [(8, [9, 5, 5, 5]), (16, [9, 5, 3, 3]), (32, [9, 5, 3, 2])])
def test_a_dilated_resnet_keeps_names_and_tells_the_true_stride(output_stride, extents):
    backbone = without_values("resnet50", output_stride=output_stride)
    features = backbone.eval()(torch.empty(1, 3, 33, 33, device="meta"))
    assert list(features) == list(backbone.stages) == ["s4", "s8", "s16", "s32"]
    assert [feature.shape[-1] for feature in features.values()] == extents
    assert [stage.stride for stage in backbone.stages.values()] == [min(s, output_stride) for s in (4, 8, 16, 32)]
    assert backbone.state_dict().keys() == without_values("resnet50").state_dict().keys()
    assert backbone.spec["output_stride"] == output_stride


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_with_zero_init_residual_every_block_begins_as_the_identity(name):
    x = torch.rand(1, create_backbone(name, weights="none").stages["s4"].channels, 4, 4)
    for zero, begins_as_identity in ((True, True), (False, False)):
        last_block = create_backbone(name, weights="none", zero_init_residual=zero).layer1[-1]
        assert torch.equal(last_block(x), x) is begins_as_identity


@pytest.mark.parametrize("name", PUBLISHED_COUNTS)
def test_parameters_add_up_to_the_published_network(name):
    backbone = described(name)
    last = list(backbone.stages.values())[-1].channels
    linear = [(last * 7 * 7, 4096), (4096, 4096), (4096, 1000)] if name.startswith("vgg") else [(last, 1000)]
    classifier = sum(inputs * outputs + outputs for inputs, outputs in linear)
    assert sum(parameter.numel() for parameter in backbone.parameters()) + classifier == PUBLISHED_COUNTS[name]


@pytest.mark.parametrize("name", EVERY)
def test_every_parameter_belongs_to_one_stage(name):
    backbone = described(name)
    listed = [
        f"{module}.{parameter}"
        for modules in backbone.stage_modules.values()
        for module in modules
        for parameter, _ in backbone.get_submodule(module).named_parameters()
    ]
    assert sorted(listed) == sorted(name for name, _ in backbone.named_parameters())


@pytest.mark.parametrize("name", TRAINED)
def test_gradients_reach_every_trainable_parameter(name, image):
    backbone = create_backbone(name, weights="none")
    train_once(backbone, image)
    assert [n for n, p in backbone.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []
    assert all(parameter.requires_grad for parameter in backbone.parameters())


@pytest.mark.parametrize("name", TRAINED)
def test_evaluation_is_deterministic_and_independent_of_the_batch(name, image):
    backbone = create_backbone(name, weights="none").eval()
    with torch.no_grad():
        once, again, alone = backbone(image), backbone(image), backbone(image[1:])
    for stage in once:
        assert torch.equal(once[stage], again[stage])
        largest = max(float(alone[stage].abs().max()), 1.0)
        torch.testing.assert_close(once[stage][1:], alone[stage], rtol=1e-4, atol=1e-4 * largest)


@pytest.mark.parametrize("name", TRAINED)
def test_channels_last_stays_and_changes_no_value(name, image):
    backbone = create_backbone(name, weights="none").eval()
    with torch.no_grad():
        plain = backbone(image)
        backbone.to(memory_format=torch.channels_last)
        last = backbone(image.contiguous(memory_format=torch.channels_last))
    for stage, feature in last.items():
        assert feature.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(feature, plain[stage], rtol=1e-3, atol=1e-3 * float(plain[stage].abs().max()))


@pytest.mark.parametrize("name", EVERY)
def test_stages_not_asked_for_are_not_built(name):
    whole = described(name)
    wanted = list(whole.stages)[1:-1:2] or list(whole.stages)
    backbone = without_values(name, out_stages=wanted[::-1])
    assert list(backbone(torch.empty(2, 3, 128, 96, device="meta"))) == list(backbone.stages) == wanted
    assert {stage: whole.stages[stage] for stage in wanted} == backbone.stages
    depth = list(whole.computed).index(wanted[-1]) + 1
    of_deeper = {m for modules in list(whole.stage_modules.values())[depth:] for m in modules}
    expected = {n for n, _ in whole.named_parameters() if not any(n.startswith(f"{module}.") for module in of_deeper)}
    assert {name for name, _ in backbone.named_parameters()} == expected


@pytest.mark.parametrize("name", TRAINED)
def test_fewer_stages_give_the_same_maps(name, image):
    whole = create_backbone(name, weights="none").eval()
    second = list(whole.stages)[:2][-1]
    part = create_backbone(name, weights="none", out_stages=[second]).eval()
    part.load_state_dict({key: value for key, value in whole.state_dict().items() if key in part.state_dict()})
    with torch.no_grad():
        assert torch.equal(part(image)[second], whole(image)[second])
    part.train()
    train_once(part, image)
    assert all(parameter.grad is not None for parameter in part.parameters())


@pytest.mark.parametrize("name", TRAINED)
@pytest.mark.parametrize("frozen", [1, 2])
def test_freezing_fixes_what_the_first_stages_need_and_nothing_else(name, frozen, image):
    backbone = create_backbone(name, weights="checkpoint")
    frozen = min(frozen, len(backbone.stages))
    parameters = dict(backbone.named_parameters())
    map_ = list(backbone(image).values())[frozen - 1]
    slopes = torch.autograd.grad(map_.sum(), list(parameters.values()), allow_unused=True)
    needed = {name for name, slope in zip(parameters, slopes, strict=True) if slope is not None}

    backbone.freeze(frozen)
    before = copy.deepcopy(backbone.state_dict())
    backbone.train()
    train_once(backbone, image)
    assert set(parameters) - trainable(backbone) == needed
    assert {name for name, parameter in parameters.items() if parameter.grad is None} == needed
    moved = {
        key.rpartition(".")[0] for key, value in backbone.state_dict().items() if not torch.equal(value, before[key])
    }
    assert moved == {name for name in norms(backbone) if f"{name}.weight" not in needed}

    backbone.freeze(0)
    assert trainable(backbone) == set(parameters)
    assert all(layer.training for layer in norms(backbone).values())


@pytest.mark.parametrize("name", ["resnet18", "cifar_densenet_40_12", "timm/tf_efficientnet_lite0"])
def test_a_wholly_frozen_network_is_at_rest_and_builds_no_graph(name, image):
    backbone = create_backbone(name, weights="checkpoint", frozen_stages="all")
    assert backbone.frozen_stages == len(backbone.stages) == backbone.spec["frozen_stages"]
    backbone.train()
    assert not any(map_.requires_grad for map_ in backbone(image).values())
    assert not any(part.training for part in backbone.modules() if part is not backbone)
    backbone.freeze(0)
    assert all(part.training for part in backbone.modules()), "and learns again when it is unfrozen"


def test_fixed_parts_drop_nothing_in_training(image):
    backbone = create_backbone("timm/tf_efficientnet_lite0", weights="checkpoint", drop_path_rate=0.5, frozen_stages=4)
    backbone.train()
    assert not any(part.training for part in backbone.body.blocks[4].modules())
    assert any("DropPath" in type(part).__name__ and part.training for part in backbone.modules())
    first, second = (backbone(image) for _ in range(2))
    assert torch.equal(first["s16"], second["s16"])
    assert not torch.equal(first["s32"], second["s32"])


def test_frozen_stages_are_counted_on_the_network_not_on_what_is_asked():
    backbone = create_backbone("resnet18", weights="checkpoint", out_stages=["s8", "s32"], frozen_stages=1)
    assert {name.split(".")[0] for name in set(dict(backbone.named_parameters())) - trainable(backbone)} == {
        "conv1",
        "bn1",
        "layer1",
    }


@pytest.mark.parametrize("name", WITH_NORM)
@pytest.mark.parametrize("norm", ["frozen", "eval", "trained"])
def test_norm_policy_outlives_mode_changes_and_reloading(name, norm, image):
    backbone = create_backbone(name, weights="checkpoint", batch_norm=norm)
    backbone.train()
    backbone.eval()
    backbone.load_state_dict({key: value.clone() for key, value in backbone.state_dict().items()})
    backbone.train()
    assert backbone.training
    layers = norms(backbone)
    before = copy.deepcopy(backbone.state_dict())
    train_once(backbone, image)
    still = all(torch.equal(before[key], value) for key, value in backbone.state_dict().items())
    assert still == (norm != "trained")
    assert {layer.training for layer in layers.values()} == {norm == "trained"}
    assert {layer.weight.grad is None for layer in layers.values()} == {norm == "frozen"}
    others = [p for n, p in backbone.named_parameters() if n.rpartition(".")[0] not in layers]
    assert all(parameter.grad is not None for parameter in others)


def test_policy_outlives_conversion_to_synchronised_norms():
    backbone = create_backbone("resnet18", weights="checkpoint", batch_norm="trained", frozen_stages=2)
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(backbone).train()
    resting = {name for name, layer in norms(converted).items() if not layer.training}
    assert resting == {name for name in norms(converted) if name.startswith(("bn1", "layer1", "layer2"))}


def test_policy_outlives_a_deep_copy():
    copied = copy.deepcopy(create_backbone("resnet18", weights="checkpoint", batch_norm="frozen")).train()
    assert not any(layer.training or layer.weight.requires_grad for layer in norms(copied).values())


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *((name, {}) for name in TRAINED),
        ("resnet50", {"batch_norm": "frozen", "frozen_stages": 2, "out_stages": ["s8", "s16"]}),
        ("densenet121", {"batch_norm": "eval", "memory_efficient": True}),
        ("timm/tf_efficientnet_lite0", {"frozen_stages": 1, "out_stages": ["s16"], "drop_path_rate": 0.1}),
    ],
)
def test_spec_rebuilds_structure_and_policy(name, options):
    backbone = create_backbone(name, weights="checkpoint", **options)
    spec = json.loads(json.dumps(backbone.spec))
    again = create_backbone(**spec)
    assert again.spec == spec == backbone.spec
    assert spec.items() >= options.items()
    assert (again.stages, again.mean, again.std) == (backbone.stages, backbone.mean, backbone.std)
    again.load_state_dict(backbone.state_dict())
    assert trainable(again) == trainable(backbone)
    resting = [{n for n, layer in norms(network).items() if not layer.training} for network in (again, backbone)]
    assert resting[0] == resting[1]


def test_spec_remembers_where_the_first_values_came_from():
    spec = {**create_backbone("resnet18", weights="none").spec, "initialized_from": "imagenet"}
    assert create_backbone(**spec).initialized_from == "imagenet"
    assert create_backbone(**{**spec, "weights": "none"}).initialized_from == "random"


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_resnet_lends_its_last_stage_to_a_head(name, image):
    whole = create_backbone(name, weights="none").eval()
    parted = copy.deepcopy(whole)
    tail = parted.split("s16")
    assert list(parted.stages) == ["s4", "s8", "s16"]
    assert {key.split(".")[0] for key in tail.state_dict()} == {"layer4"}
    assert not any(key.startswith("layer4") for key in parted.state_dict())
    with torch.no_grad():
        expected, maps = whole(image), parted(image)
        assert torch.equal(tail(maps["s16"]), expected["s32"])
        assert torch.equal(maps["s4"], expected["s4"])


def test_a_lent_stage_keeps_the_norm_policy():
    backbone = create_backbone("resnet18", weights="checkpoint", batch_norm="eval")
    tail = backbone.split("s8").train()
    assert [name for name, _ in tail.named_children()] == ["layer3", "layer4"]
    assert not any(layer.training for layer in norms(tail).values())
    assert all(parameter.requires_grad for parameter in tail.parameters())


@pytest.mark.parametrize(("name", "stage"), [("resnet18", "s32"), ("resnet18", "s2"), ("vgg11", "s16")])
def test_a_split_that_cannot_be_is_refused(name, stage):
    with pytest.raises(ConfigError, match=name):
        without_values(name).split(stage)


@pytest.mark.parametrize("name", ["vgg11", "vgg11_bn"])
@pytest.mark.parametrize("out_stages", [None, ["s4", "s16"]])
def test_vgg_tells_where_its_pools_found_their_maxima(name, out_stages, numbers):
    backbone = create_backbone(name, weights="none", out_stages=out_stages).eval()
    image = torch.randn(2, 3, 33, 47)
    with torch.no_grad():
        features, indices = backbone.forward_with_indices(image)
        plain = backbone(image)
        whole = create_backbone(name, weights="none").eval()
        whole.load_state_dict(backbone.state_dict())
        maps = list(whole(image).values())
    assert list(features) == list(plain)
    assert all(torch.equal(features[stage], plain[stage]) for stage in plain)
    assert len(indices) == (5 if out_stages is None else 4)
    for before, where in zip(maps, indices, strict=False):
        _, expected = functional.max_pool2d(before, 2, return_indices=True)
        assert torch.equal(where, expected)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"name": "resnet51"}, "resnet50"),
        ({"name": "timm/no_such_model"}, "timm has no model"),
        ({"name": "other/resnet18"}, "unknown backbone"),
        ({"name": "resnet18", "out_stages": ["s64"]}, "no stage 's64'"),
        ({"name": "resnet18", "out_stages": []}, "out_stages is empty"),
        ({"name": "resnet18", "batch_norm": "group"}, "trained, frozen, eval"),
        ({"name": "resnet18", "frozen_stages": 5}, "frozen_stages=5"),
        ({"name": "resnet18", "frozen_stages": -1}, "frozen_stages=-1"),
        ({"name": "resnet18", "frozen_stages": 4, "out_stages": ["s16"]}, "3 stages"),
        ({"name": "resnet18", "memory_efficient": True}, "memory_efficient"),
        ({"name": "resnet18", "output_stride": 8}, "resnet50 or a deeper one"),
        ({"name": "resnet50", "output_stride": 4}, "8, 16 and 32"),
    ],
)
@pytest.mark.parametrize("weights", ["checkpoint", "auto"])
def test_a_wrong_argument_is_named(arguments, words, weights):
    with pytest.raises(ConfigError) as caught:
        create_backbone(**{"weights": weights, **arguments})
    assert words in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 5


def test_without_timm_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "timm", None)
    with pytest.raises(ConfigError, match=r"pip install -e '\.\[timm\]'"):
        create_backbone("timm/resnet18", weights="none")


def test_normalization_is_that_of_the_pretrained_weights():
    assert without_values("resnet18").mean == (0.485, 0.456, 0.406)
    lite = without_values("timm/tf_efficientnet_lite0")
    assert (lite.mean, lite.std) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def test_timm_maps_with_channels_last_are_turned():
    name = "timm/swin_tiny_patch4_window7_224"
    features = without_values(name, out_stages=["s8"])(torch.empty(1, 3, 224, 224, device="meta"))
    assert features["s8"].shape == (1, 192, 28, 28)


def test_maps_of_equal_stride_give_one_stage_the_deepest():
    assert without_values("timm/vit_tiny_patch16_224").stages == {"s16": Stage(192, 16)}
