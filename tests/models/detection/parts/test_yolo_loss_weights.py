import pytest
import torch

from tests.helpers.detectors import padded
from tests.helpers.yolo import CLASSES, GROUND_TRUTH, SHAPES, random_output
from visionkit.backbones import create_backbone
from visionkit.errors import ConfigError
from visionkit.models.detection.parts.yolo_loss_weights import YOLOLossWeights
from visionkit.models.detection.yolov1 import YOLOv1
from visionkit.models.detection.yolov2 import YOLOv2

MODELS = {
    YOLOv1: {"head": "convolutional", "grid": 4, "head_channels": 8},
    YOLOv2: {"anchor_shapes": SHAPES, "head_channels": 8},
}


@pytest.mark.parametrize("name", ["coord", "object", "noobject", "classes"])
def test_weights_below_0_are_refused(name):
    with pytest.raises(ConfigError, match=f"{name}=-1"):
        YOLOLossWeights(**{name: -1.0})


@pytest.mark.parametrize("model_class", MODELS)
def test_each_weight_scales_its_term(model_class):
    backbone = create_backbone("resnet18", weights="none", out_stages=["s16", "s32"])

    def losses(**weights):
        weights = YOLOLossWeights(**{"coord": 0.0, "object": 0.0, "noobject": 0.0, "classes": 0.0, **weights})
        model = model_class(backbone, CLASSES, loss_weights=weights, **MODELS[model_class])
        anchors, _ = model.anchors.grid((128, 128), [torch.zeros(1, 1, 4, 4)])
        of_batch = model.losses(random_output(anchors), padded(GROUND_TRUTH))
        return {name: value.item() for name, value in of_batch.items()}

    for name, loss in [
        ("coord", "box"),
        ("object", "objectness"),
        ("noobject", "objectness"),
        ("classes", "classifier"),
    ]:
        single, double = losses(**{name: 1.0}), losses(**{name: 2.0})
        assert single[f"loss_{loss}"] > 0
        assert double[f"loss_{loss}"] == pytest.approx(2 * single[f"loss_{loss}"])
        assert sum(single.values()) == single[f"loss_{loss}"]
