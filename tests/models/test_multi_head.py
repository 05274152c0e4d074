"""Several models with one backbone: each is what it would be alone, and they share the forward pass."""

import copy

import pytest
import torch

import visionkit as vk
from visionkit.backbones.shared import SharedBackbone, SharedPass
from visionkit.errors import ConfigError

OBJECTS = {"name": "retinanet", "num_classes": 3, "out_stages": ["s8", "s16", "s32"]}
REGIONS = {"name": "unet", "num_classes": 5}
TAGS = {"name": "classifier", "num_classes": 7, "multi_label": True}
TARGET = {"boxes": torch.tensor([[8.0, 8.0, 40.0, 56.0]]), "labels": torch.tensor([2])}
HEADS = [
    OBJECTS,
    {"name": "faster_rcnn", "num_classes": 2, "fpn_channels": 16, "head_channels": 16},
    {"name": "mask_rcnn", "num_classes": 2, "fpn_channels": 16, "head_channels": 16, "mask_channels": 16},
    {"name": "yolov2", "num_classes": 2, "out_stages": ["s16", "s32"]},
    {"name": "fcn8s", "num_classes": 4},
    {"name": "deeplabv3", "num_classes": 4},
    REGIONS,
    TAGS,
]


PANOPTIC = {
    "objects": {"name": "mask_rcnn", "num_classes": 2, "fpn_channels": 16, "head_channels": 16, "mask_channels": 16},
    "boxes": {"name": "retinanet", "num_classes": 2, "fpn_channels": 16},
    "regions": {"name": "semantic_fpn", "num_classes": 4, "fpn_channels": 16, "branch_channels": 32},
    "tags": {"name": "classifier", "num_classes": 7, "multi_label": True},
}


def backbone(name="resnet18"):
    torch.manual_seed(0)
    return vk.create_backbone(name, weights="none")


def multi(**heads):
    classes = sum(options["num_classes"] for options in heads.values())
    return vk.MultiHead(backbone(), classes, heads=heads)


def panoptic():
    """Return a model of three heads with one pyramid, and one without."""
    return vk.MultiHead(backbone(), 15, heads=PANOPTIC, share_pyramid=True)


def answer(model, images):
    return model(list(images)) if isinstance(model, vk.DetectionModel) else model(images)


def same(first, second):
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second)
    return all(torch.equal(one[key], other[key]) for one, other in zip(first, second, strict=True) for key in one)


@pytest.fixture
def images():
    return torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("options", HEADS, ids=[options["name"] for options in HEADS])
def test_a_head_answers_as_the_model_alone(options, images):
    model = multi(only=options).eval()
    alone = model.single("only")
    assert type(alone) is type(model.head("only"))
    assert {name for name, _ in alone.named_parameters() if name.startswith("backbone.")}
    assert not {name for name, _ in model.head("only").named_parameters() if name.startswith("backbone.")}
    with torch.no_grad():
        assert same(answer(model.head("only"), images), answer(alone, images))


def test_equal_images_go_through_the_backbone_once(images):
    model = multi(objects=OBJECTS, regions=REGIONS, tags=TAGS).eval()
    calls = []
    model.backbone.register_forward_hook(lambda *_: calls.append(1))
    with torch.no_grad():
        apart = [answer(head, images) for head in model.heads.values()]
        assert len(calls) == 3
        with model.one_pass():
            together = [answer(head, images) for head in model.heads.values()]
            assert len(calls) == 4
            model.head("tags")(images + 1)
            assert len(calls) == 5
        model.head("tags")(images)
    assert len(calls) == 6, "nothing is kept after the block"
    for one, other in zip(apart, together, strict=True):  # detectors lay out images with the channels last
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_the_gradients_of_the_heads_add_up(images):
    model = multi(objects=OBJECTS, tags=TAGS)
    model.backbone.eval()  # the statistics of BatchNorm would change with each pass

    def losses():
        boxes = sum(model.head("objects")(list(images), [TARGET] * 2).values())
        return boxes, model.head("tags")(images).square().mean()

    def gradients(*terms):
        model.zero_grad()
        torch.stack(terms).sum().backward()
        return {name: parameter.grad.clone() for name, parameter in model.backbone.named_parameters()}

    apart = [gradients(loss) for loss in losses()]
    with model.one_pass():
        together = gradients(*losses())
    for name, gradient in together.items():
        torch.testing.assert_close(gradient, sum(each[name] for each in apart), rtol=1e-4, atol=1e-6)


def test_a_copy_has_a_backbone_of_its_own(images):
    model = multi(tags=TAGS).eval()
    other = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in other.backbone.parameters():
            parameter.zero_()
        assert not same(model.head("tags")(images), other.head("tags")(images))


def test_weights_and_policy_are_those_of_the_common_backbone():
    shared = SharedPass(backbone())
    view = SharedBackbone(shared, ["s16"])
    assert not list(view.parameters())
    assert view.spec == {**shared.backbone.spec, "out_stages": ["s16"]}
    assert list(view.computed) == ["s4", "s8", "s16"]
    view.mean = (0.1, 0.2, 0.3)
    assert shared.backbone.mean == (0.1, 0.2, 0.3)
    shared.backbone.is_randomly_initialized = False
    view.set_batch_norm("frozen")
    view.freeze(2)
    assert (shared.backbone.batch_norm, shared.backbone.frozen_stages) == (view.batch_norm, view.frozen_stages)
    assert (view.batch_norm, view.frozen_stages) == ("frozen", 2)


def test_a_shared_pyramid_is_one_module_that_is_computed_once(images):
    model = panoptic().eval()
    apart = vk.MultiHead(backbone(), 15, heads=PANOPTIC)
    pyramid = model.head("objects").neck
    own = sum(p.numel() for p in (*pyramid.inner_blocks.parameters(), *pyramid.layer_blocks.parameters()))
    finest = sum(p.numel() for p in (*pyramid.inner_blocks[0].parameters(), *pyramid.layer_blocks[0].parameters()))
    counts = [sum(p.numel() for p in each.parameters()) for each in (apart, model)]
    assert counts[0] - counts[1] == own + (own - finest)  # RetinaNet has no level of stride 4
    calls = []
    pyramid.layer_blocks[1].register_forward_hook(lambda *_: calls.append(1))
    with torch.no_grad(), model.one_pass():
        together = [answer(head, images) for head in model.heads.values()]
    assert len(calls) == 1
    with torch.no_grad():
        for name, result in zip(model.heads, together, strict=True):
            torch.testing.assert_close(answer(model.single(name), images), result, rtol=1e-4, atol=1e-4)


def test_the_parameters_of_a_shared_pyramid_are_shared():
    model = panoptic()
    shared = {id(parameter) for parameter in model.shared_parameters()}
    pyramid = model.head("objects").neck
    assert {id(parameter) for parameter in (*pyramid.parameters(), *model.backbone.parameters())} == shared
    model.backbone.requires_grad_(False)
    assert {id(parameter) for parameter in pyramid.parameters()} == {*map(id, model.shared_parameters())}
    apart = vk.MultiHead(backbone(), 15, heads=PANOPTIC)
    assert {*map(id, apart.shared_parameters())} == {*map(id, apart.backbone.parameters())}


def test_a_shared_pyramid_stays_shared_in_copies_and_files(tmp_path):
    model = panoptic()
    torch.save(model.state_dict(), tmp_path / "model.pth")
    spec = {**model.spec}
    rebuilt = vk.create_model(spec.pop("name"), backbone(), **{k: v for k, v in spec.items() if k != "backbone"})
    rebuilt.load_state_dict(torch.load(tmp_path / "model.pth"))
    for other in (copy.deepcopy(model), rebuilt):
        with torch.no_grad():
            other.head("regions").neck.inner_blocks[1][0].weight.fill_(7.0)
        assert (other.head("boxes").neck.inner_blocks[0][0].weight == 7).all()
        assert not (model.head("boxes").neck.inner_blocks[0][0].weight == 7).all()


def test_pyramids_of_different_channels_cannot_be_shared():
    heads = {**PANOPTIC, "boxes": {**PANOPTIC["boxes"], "fpn_channels": 32}}
    with pytest.raises(ConfigError, match=r"share_pyramid: the heads have .*'boxes': '32 channels, s8 s16 s32'"):
        vk.MultiHead(backbone(), 15, heads=heads, share_pyramid=True)


@pytest.mark.parametrize(
    ("heads", "message"),
    [
        ({}, "at least one"),
        ({"tags": {"name": "clasifier", "num_classes": 2}}, "head tags: unknown model 'clasifier'"),
        ({"tags": {**TAGS, "out_stages": ["s64"]}}, "head tags: the common backbone returns no stage 's64'"),
        ({"regions": {"name": "segnet", "num_classes": 2}}, "head regions: "),
        ({"objects": {"name": "faster_rcnn", "num_classes": 2, "variant": "c4"}}, "head objects: .* cannot be split"),
        ({"tags": {**TAGS, "weights": "imagenet"}}, "head tags: weights=imagenet"),
    ],
)
def test_heads_that_cannot_be_are_refused(heads, message):
    with pytest.raises(ConfigError, match=message):
        multi(**heads)


@pytest.mark.parametrize("name", ["", "a b", "a.b", "../a", "/a", "type", "keys", "get", "training", "a\0"])
def test_names_that_cannot_be_those_of_files_and_modules_are_refused(name):
    with pytest.raises(ConfigError, match="cannot be the name of a head"):
        multi(**{name: TAGS})


@pytest.mark.parametrize("name", ["tags_2", "left-side", "Köpfe", "1"])
def test_other_names_may_be_chosen(name):
    assert [*multi(**{name: TAGS}).heads] == [name]


def test_a_missing_head_is_named():
    with pytest.raises(ConfigError, match="no head 'tag'; did you mean tags"):
        multi(tags=TAGS).head("tag")


def small(name="tags", **options):
    backbone = vk.create_backbone("resnet18", weights="none")
    return vk.MultiHead(backbone, 2, heads={name: {"name": "classifier", "num_classes": 2, **options}})


@pytest.mark.parametrize("name", ["type", "items", "keys", "training", "_modules"])
def test_names_that_pytorch_uses_are_refused(name):
    with pytest.raises(vk.ConfigError, match=f"'{name}' cannot be the name of a head, since PyTorch uses it"):
        small(name)


@pytest.mark.parametrize("name", ["../tags", "a/b", "a.b", "", 7])
def test_names_that_are_not_part_of_a_file_name_are_refused(name):
    with pytest.raises(vk.ConfigError, match="cannot be the name of a head"):
        small(name)


def test_a_head_needs_a_stage():
    with pytest.raises(vk.ConfigError, match="head tags: out_stages is empty"):
        small(out_stages=[])


@pytest.mark.parametrize("name", ["rcnn", "sliding_window", "multi"])
def test_models_that_change_or_crop_for_their_backbone_cannot_be_heads(name):
    backbone = vk.create_backbone("resnet18", weights="none")
    with pytest.raises(vk.ConfigError, match=f"head objects: {name} cannot be a head"):
        vk.MultiHead(backbone, 2, heads={"objects": {"name": name, "num_classes": 2}})
