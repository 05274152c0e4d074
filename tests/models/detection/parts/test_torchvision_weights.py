import dataclasses
import logging
import re

import pytest
import torch
from torch import nn
from torchvision.models.detection import ssd300_vgg16

from tests.helpers.detectors import images
from tests.helpers.torchvision_detectors import assert_same_detections, torchvision_reference, torchvision_retinanet
from visionkit.backbones import create_backbone
from visionkit.errors import CheckpointError
from visionkit.models import create_model
from visionkit.models.detection import faster_rcnn
from visionkit.models.detection.faster_rcnn import PUBLISHED, FasterRCNN
from visionkit.models.detection.parts.torchvision_weights import _hash

PREDICTOR = "roi_heads.box_predictor."


@pytest.fixture(scope="module")
def reference():
    return torchvision_reference(num_classes=3, rpn_post_nms_top_n_test=200).eval()


@pytest.fixture
def published(reference, tmp_path):
    """A file as published by torchvision: frozen BatchNorm without counters, names from before 0.13."""
    state = {key: value for key, value in reference.state_dict().items() if "num_batches_tracked" not in key}
    old_names = {key.replace(".0.0.", ".0.") if "fpn" in key else key: value for key, value in state.items()}
    old_names = {key.replace("head.conv.0.0.", "head.conv."): value for key, value in old_names.items()}
    for level in range(4):
        for block in ("inner", "layer"):
            for kind in ("weight", "bias"):
                new = f"backbone.fpn.{block}_blocks.{level}.0.{kind}"
                if new in old_names:
                    old_names[f"backbone.fpn.{block}_blocks.{level}.{kind}"] = old_names.pop(new)
    path = tmp_path / "coco.pth"
    torch.save(old_names, path)
    return path


def make(weights, num_classes=3, **options):
    backbone = create_backbone("resnet50", weights="none")
    few = {"rpn": {"post_nms_top_n_test": 200}}
    return create_model("faster_rcnn", backbone, num_classes, weights=str(weights), **few, **options).eval()


def assert_same_boxes(ours, theirs):
    some = images((64, 96))
    with torch.no_grad():
        (own,), (expected,) = ours(some), theirs(some)
    torch.testing.assert_close(own["boxes"], expected["boxes"], atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(own["scores"], expected["scores"], atol=1e-4, rtol=1e-4)


def test_torchvision_file_gives_torchvisions_boxes(reference, published):
    assert_same_boxes(make(published), reference)


def test_epsilon_of_the_published_file_is_compensated(reference, published, monkeypatch):
    trained_so = dataclasses.replace(PUBLISHED, hash_without_epsilon=_hash(published)[:8])
    monkeypatch.setattr(faster_rcnn, "PUBLISHED", trained_so)
    norms = [module for module in reference.modules() if isinstance(module, nn.BatchNorm2d)]
    ours = make(published)
    try:
        for norm in norms:
            norm.eps = 0.0
        assert_same_boxes(ours, reference)
    finally:
        for norm in norms:
            norm.eps = 1e-5
    layer = ours.backbone.bn1
    expected = reference.state_dict()["backbone.body.bn1.running_var"].double()
    torch.testing.assert_close(layer.running_var.double() + layer.eps, expected, atol=1e-7, rtol=0)


def test_another_number_of_classes_keeps_a_new_predictor(reference, published, caplog):
    torch.manual_seed(0)
    fresh = FasterRCNN(create_backbone("resnet50", weights="none"), 7).state_dict()
    torch.manual_seed(0)
    with caplog.at_level(logging.WARNING, "visionkit"):
        state = make(published, num_classes=7).state_dict()
    assert (
        f"another number of classes: {PREDICTOR}cls_score, {PREDICTOR}bbox_pred stay randomly initialized"
        in caplog.text
    )
    for key, value in fresh.items():
        if key.startswith(PREDICTOR):
            assert torch.equal(state[key], value)
    assert torch.equal(state["roi_heads.box_head.fc6.weight"], reference.roi_heads.box_head.fc6.weight)


def test_own_checkpoint_gives_its_boxes(published, tmp_path):
    network = make(published)
    state = {f"pipeline.network.{key}": value for key, value in network.state_dict().items()}
    path = tmp_path / "best.ckpt"
    torch.save({"visionkit": {"format": 1}, "state_dict": {**state, "metric.total": torch.zeros(1)}}, path)
    assert_same_boxes(make(path), network)


def test_a_state_dict_under_our_names_is_taken_as_it_is(tmp_path):
    def retinanet(**options):
        return create_model("retinanet", create_backbone("resnet18", weights="none"), 4, fpn_channels=16, **options)

    state = retinanet().state_dict()
    torch.save(state, tmp_path / "own.pth")
    again = retinanet(weights=str(tmp_path / "own.pth")).state_dict()
    assert all(torch.equal(value, again[key]) for key, value in state.items())


def test_loaded_backbone_is_no_longer_random(published):
    network = make(published)
    assert network.backbone.initialized_from == str(published)
    assert network.spec["backbone"]["initialized_from"] == str(published)
    network.backbone.freeze(2)


def test_a_foreign_file_is_refused_with_names(tmp_path):
    path = tmp_path / "foreign.pth"
    torch.save({"conv.weight": torch.zeros(3), **dict.fromkeys(["a", "b"], torch.zeros(1))}, path)
    with pytest.raises(CheckpointError, match=r"foreign.pth does not fit FasterRCNN\n.*\n.*conv.weight") as caught:
        make(path)
    assert len(str(caught.value).splitlines()) <= 5


def test_a_file_for_other_anchors_is_refused(published):
    with pytest.raises(CheckpointError, match=r"of another shape .*rpn.head.bbox_pred"):
        make(published, anchors={"aspect_ratios": (1.0,)})


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", None])
def test_broken_and_missing_files_are_refused(content, tmp_path):
    path = tmp_path / "broken.pth"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"broken\.pth"):
        make(path)


def test_nothing_is_unpickled(tmp_path):
    path = tmp_path / "evil.pth"
    torch.save({"model": nn.Linear(1, 1)}, path)
    with pytest.raises(CheckpointError, match="more than plain tensors"):
        make(path)


def test_coco_that_cannot_be_had_is_a_clear_error(monkeypatch, tmp_path):
    monkeypatch.setenv("VISIONKIT_OFFLINE", "1")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(CheckpointError, match="fasterrcnn_resnet50_fpn_coco"):
        make("coco")


UNUSED = [12, 26, 29, 30, 45, 66, 68, 69, 71, 83]
"""COCO's ids without a class."""


def torchvision_ssd():
    torch.manual_seed(3)
    some = {"image_mean": [0.0] * 3, "image_std": [1.0] * 3, "score_thresh": 0.0}
    network = ssd300_vgg16(weights=None, weights_backbone=None, num_classes=91, **some)
    for layer in network.head.classification_head.module_list:
        layer.weight.data *= 3
    return network


def torchvision_faster_rcnn(masks=False):
    few = {"rpn_post_nms_top_n_test": 200, "box_detections_per_img": 40}
    return torchvision_reference(90, masks, box_score_thresh=0.0, **few)


FEW = {"rpn": {"post_nms_top_n_test": 200}, "nms": {"score_threshold": 0.0, "max_detections": 40}}


DETECTORS = {
    "faster_rcnn": (torchvision_faster_rcnn, "resnet50", FEW, (64, 96)),
    "mask_rcnn": (lambda: torchvision_faster_rcnn(True), "resnet50", FEW, (64, 96)),
    "retinanet": (lambda: torchvision_retinanet(90), "resnet18", {"nms": {"max_detections": 300}}, (64, 96)),
    "ssd": (torchvision_ssd, "vgg16_atrous", {"variant": "ssd300", "nms": {"score_threshold": 0.0}}, (300, 300)),
}
"""torchvision's network for COCO's ids, and the backbone, the options and the size for ours."""


def silence(network, ids):
    """Keep torchvision's network from detecting the classes `ids`, so that it behaves as a network without them."""
    layers = re.compile(r"cls_score|classification_head\.(cls_logits|module_list)")
    for name, value in network.named_parameters():
        if layers.search(name):
            value.data.view(-1, 91, *value.shape[1:])[:, ids] = -100.0 if name.endswith("bias") else 0.0


@pytest.mark.parametrize("name", DETECTORS)
def test_80_classes_are_torchvisions_in_the_order_of_their_ids(name, tmp_path, caplog):
    make_theirs, backbone, options, size = DETECTORS[name]
    reference, path = make_theirs().eval(), tmp_path / "coco.pth"
    silence(reference, UNUSED)
    torch.save(reference.state_dict(), path)
    with caplog.at_level(logging.INFO, "visionkit"):
        ours = create_model(name, create_backbone(backbone, weights="none"), 80, weights=str(path), **options).eval()
    assert "80 of the file's 90 category ids are used" in caplog.text
    assert "stay new" not in caplog.text
    with torch.no_grad():
        (own,), (theirs,) = ours(images(size)), reference(images(size))
    ids = [number for number in range(1, 91) if number not in UNUSED]
    theirs["labels"] = torch.tensor([1 + ids.index(label) for label in theirs["labels"].tolist()])
    assert_same_detections(own, theirs)
    if name == "mask_rcnn":
        layer, rows = reference.roi_heads.mask_predictor.mask_fcn_logits, [0, *ids]
        assert torch.equal(ours.mask_head.predictor.mask_fcn_logits.weight, layer.weight[rows])
