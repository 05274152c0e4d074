import pytest
import torch
from torchvision.models import vgg16
from torchvision.models.detection import ssd300_vgg16
from torchvision.models.vgg import cfgs

from tests.helpers.detectors import images, padded, target
from tests.helpers.torchvision_detectors import assert_learns_alike, assert_same_detections
from visionkit.backbones import create_backbone
from visionkit.errors import ConfigError, DataError
from visionkit.models.detection.parts.one_stage import AnchorOutput
from visionkit.models.detection.ssd import PUBLISHED, SSD
from visionkit.models.load_model import load_strict
from visionkit.ops.matching import Objects
from visionkit.ops.nms import NMSOptions

CLASSES = 3
TWO = images((300, 300), (300, 300))
TWO_TARGETS = [
    target([[30, 30, 180, 210], [90, 120, 270, 290], [15, 240, 75, 285]], [0, 2, 1]),
    target([[60, 15, 207, 180]], [1]),
]


# torchvision fixes the channels of conv4_3 and conv5_3 only
NARROW = [8, 8, "M", 16, 16, "M", 16, 16, 16, "M", 32, 32, 512, "M", 32, 32, 512, "M"]


def on_meta_device(variant, num_classes):
    with torch.device("meta"):
        return SSD(create_backbone("vgg16_atrous", weights="checkpoint"), num_classes, variant=variant)


@pytest.fixture
def narrow_vgg(monkeypatch):
    """Build VGG-16, torchvision's and ours, with few channels in the layers whose maps SSD does not take."""
    monkeypatch.setitem(cfgs, "D", NARROW)


@pytest.fixture(scope="module")
def pair():
    """torchvision's model, with random weights that give varied scores, and ours with the same weights.

    The layers of VGG-16 whose maps SSD does not take are narrow.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(cfgs, "D", NARROW)
        return narrow_pair()


def narrow_pair():
    torch.manual_seed(3)
    reference = ssd300_vgg16(
        weights=None,
        weights_backbone=None,
        num_classes=CLASSES + 1,
        image_mean=[0.0] * 3,
        image_std=[1.0] * 3,
        detections_per_img=1000,
    )
    for layer in reference.head.classification_head.module_list:
        layer.weight.data *= 3
        layer.bias.data[:: CLASSES + 1] = 2.0
    reference.to(memory_format=torch.channels_last)
    reference.backbone.register_forward_pre_hook(
        lambda _, inputs: (inputs[0].contiguous(memory_format=torch.channels_last),)
    )
    ours = SSD(
        create_backbone("vgg16_atrous", weights="none"),
        CLASSES,
        variant="ssd300",
        nms=NMSOptions(iou=0.45, max_detections=1000, score_threshold=0.01),
    )
    load_strict(ours, PUBLISHED.translate(reference.state_dict()), "torchvision")
    return reference, ours


def test_losses_and_their_gradients_equal_torchvision(pair):
    names = {"loss_classifier": "classification", "loss_box": "bbox_regression"}
    assert_learns_alike(*pair, PUBLISHED, names, TWO, TWO_TARGETS)


def test_predictions_equal_torchvision(pair):
    reference, ours = (network.eval() for network in pair)
    with torch.no_grad():
        expected, predictions = reference(TWO), ours(TWO)
    for theirs, prediction in zip(expected, predictions, strict=True):
        assert_same_detections(prediction, theirs)


def test_default_boxes_equal_torchvision(pair):
    reference, ours = pair
    with torch.no_grad():
        _, output = ours.eval()._anchor_output(TWO[:1])
        maps = list(reference.backbone(TWO[0][None]).values())
    images = type("Images", (), {"tensors": TWO[0][None], "image_sizes": [(300, 300)]})
    (expected,) = reference.anchor_generator(images, maps)
    torch.testing.assert_close(output.anchors, expected)
    assert output.anchors_per_level == [5776, 2166, 600, 150, 36, 4]


@pytest.mark.parametrize(("variant", "size", "boxes"), [("ssd300", 300, 8732), ("ssd512", 512, 24564)])
def test_number_of_default_boxes(variant, size, boxes):
    network = on_meta_device(variant, 20)
    sides = {"ssd300": [38, 19, 10, 5, 3, 1], "ssd512": [64, 32, 16, 8, 4, 2, 1]}[variant]
    with torch.device("meta"):
        maps = network.neck(network.backbone(torch.zeros(1, 3, size, size)))
    assert [tuple(level.shape[-2:]) for level in maps.values()] == [(side, side) for side in sides]
    anchors, anchors_per_level = network.anchors.grid((size, size), [torch.zeros(1, 1, side, side) for side in sides])
    assert len(anchors) == sum(anchors_per_level) == boxes


def test_number_of_parameters_of_ssd300():
    assert sum(p.numel() for p in on_meta_device("ssd300", 20).parameters()) == 26_285_486
    assert sum(p.numel() for p in on_meta_device("ssd300", 90).parameters()) == 35_641_826  # torchvision's for COCO


def test_published_weights_set_the_normalization(pair, narrow_vgg, tmp_path, monkeypatch):
    reference, _ = pair
    path = tmp_path / "ssd.pth"
    torch.save(reference.state_dict(), path)
    monkeypatch.setattr("visionkit.backbones.published_weights.PublishedWeights.obtain", lambda self: path)
    network = SSD(create_backbone("vgg16_atrous", weights="none"), CLASSES, variant="ssd300", weights="coco")
    assert (network.backbone.mean, network.backbone.std) == ((0.48235, 0.45882, 0.40784), (1 / 255,) * 3)
    assert torch.equal(network.neck.scale.s8, reference.backbone.scale_weight)
    other = SSD(create_backbone("vgg16_atrous", weights="none"), 5, variant="ssd300", weights=str(path))
    assert other.backbone.std == network.backbone.std
    assert torch.equal(other.backbone.fc6.weight, reference.backbone.extra[0][7][1].weight)
    assert other.head.classification_head.module_list[0].out_channels == 4 * 6


def test_hard_negatives_are_three_per_matched_box():
    """Two images of ten boxes: two matched and six hard negatives in the first, none in the second."""
    network = SSD(create_backbone("resnet18", weights="none"), 2, extra_channels=())
    column = 20.0 * torch.arange(10)
    anchors = torch.stack([column, torch.zeros(10), column + 10, torch.full((10,), 10.0)], dim=1)
    logits = torch.zeros(2, 10, 3)
    logits[:, :, 1] = torch.arange(10.0)
    output = AnchorOutput(anchors, [10], logits, torch.zeros(2, 10, 4))
    empty = Objects(anchors[:0], torch.zeros(0, dtype=torch.int64), anchors[:0])
    two = Objects(anchors[[8, 9]], torch.tensor([0, 1]), anchors[:0])
    losses = network.losses(output, padded([two, empty]))
    entropy = -logits[0].log_softmax(-1)
    expected = entropy[8, 1] + entropy[9, 2] + entropy[2:8, 0].sum()
    assert losses["loss_classifier"].item() == pytest.approx(expected.item() / 2)
    assert losses["loss_box"].item() == 0
    assert network.losses(output, padded([empty, empty]))["loss_classifier"].item() == 0


@pytest.mark.parametrize("size", [(64, 64), (37, 90)])
def test_small_and_oblong_inputs(size):
    torch.manual_seed(0)
    network = SSD(create_backbone("resnet18", weights="none"), 2).eval()
    with torch.no_grad():
        (prediction,) = network(images(size))
        _, output = network._anchor_output(images(size))
    centers = (output.anchors[:, :2] + output.anchors[:, 2:]) / 2
    assert (centers > 0).all()
    assert (centers < torch.tensor([size[1], size[0]])).all()
    assert prediction["boxes"].isfinite().all()


def test_published_forms_accept_smaller_inputs():
    network = SSD(create_backbone("vgg16_atrous", weights="none"), 2, variant="ssd300").eval()
    with torch.no_grad():
        _, output = network._anchor_output(images((64, 64)))
    centers = (output.anchors[:, :2] + output.anchors[:, 2:]) / 2
    assert ((centers > 0) & (centers < 64)).all()


def test_invalid_options_and_images_are_refused():
    resnet = create_backbone("resnet18", weights="none")
    with pytest.raises(ConfigError, match=r"vgg16_atrous, not resnet18\n.*variant=any"):
        SSD(resnet, 2, variant="ssd300")
    for unused in ({"scales": (0.1, 0.9)}, {"extra_channels": (64,)}):
        with pytest.raises(ConfigError, match=f"{next(iter(unused))}=.*is for variant=any"):
            SSD(create_backbone("vgg16_atrous", weights="none"), 2, variant="ssd300", **unused)
    with pytest.raises(ConfigError, match="did you mean ssd300"):
        SSD(resnet, 2, variant="ssd30")
    with pytest.raises(DataError, match=r"one size\nset preprocess.size"):
        SSD(resnet, 2)(images((64, 64), (64, 80)), [target(), target()])
    shallow = create_backbone("resnet18", weights="none", out_stages=["s4"])
    with pytest.raises(ConfigError, match="stride 8 to 32"):
        SSD(shallow, 2)


def test_fully_connected_layers_become_dilated_convolutions():
    """Liu et al. 2015, section 3: fc6 and fc7 subsampled."""
    with torch.device("meta"):
        published = vgg16().state_dict()
    fc6 = torch.arange(4096 * 25088, dtype=torch.float32).view(4096, 25088)
    published = {key: value for key, value in published.items() if not key.startswith("classifier")}
    published |= {"classifier.0.weight": fc6, "classifier.0.bias": torch.arange(4096.0)}
    published |= {"classifier.3.weight": torch.randn(4096, 4096), "classifier.3.bias": torch.arange(4096.0)}
    with torch.device("meta"):
        backbone = create_backbone("vgg16_atrous", weights="checkpoint")
    state = backbone.translate(published)
    assert {k: v.shape for k, v in state.items()} == {k: v.shape for k, v in backbone.state_dict().items()}
    assert state["fc6.weight"][3, 5, 1, 2] == fc6.view(4096, 512, 7, 7)[12, 5, 3, 6]
    assert state["fc7.weight"][3, 5, 0, 0] == published["classifier.3.weight"][12, 20]
    assert state["fc6.bias"][2] == 8


def test_boxes_are_not_clipped_on_request_and_torchvisions_weights_need_it():
    backbone = create_backbone("resnet18", weights="none", out_stages=["s8", "s16"])
    assert SSD(backbone, 2, extra_channels=(64,)).anchors.clip
    network = SSD(backbone, 2, extra_channels=(64,), clip_boxes=False)
    assert not network.anchors.clip
    assert network.spec["clip_boxes"] is False
    with pytest.raises(ConfigError, match="clip_boxes=true"):
        SSD(backbone, 2, weights="coco", clip_boxes=False)
