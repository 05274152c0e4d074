"""Each one-stage detector learns eight pictures by heart, two of them empty, and gives the right classes back."""

import pytest
import torch

from visionkit.backbones import create_backbone
from visionkit.data.batch import to_target, to_tensor
from visionkit.data.formats.shapes import Shapes
from visionkit.metrics import metrics
from visionkit.models import create_model

SIZE = 64
STEPS = {"retinanet": 150, "ssd": 70}
OPTIONS = {
    # Learned by heart, anchors between the two thresholds say anything: they are never told that they are wrong.
    "retinanet": {
        "bg_iou": 0.5,
        "fpn_channels": 32,
        "anchor_sizes": [[side, 5 * side // 4, 8 * side // 5] for side in (16, 24, 32, 48)],
    },
    "ssd": {"extra_channels": (64,)},
}


@pytest.mark.parametrize("name", sorted(OPTIONS))
def test_eight_pictures_are_learned_by_heart(name):
    shapes = Shapes(split="train", count=8, size=SIZE, min_object=0.3, max_object=0.7, max_objects=2, empty_share=0.3)
    samples = [shapes[index] for index in range(8)]
    targets = [to_target(sample) for sample in samples]
    assert [len(target["boxes"]) for target in targets].count(0) == 2
    pictures = [to_tensor(sample.picture).float() / 128 - 1 for sample in samples]
    torch.manual_seed(0)
    backbone = create_backbone("resnet18", weights="none", out_stages=["s8", "s16"])
    network = create_model(name, backbone, len(shapes.class_names), **OPTIONS[name]).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    for _ in range(STEPS[name]):
        optimizer.zero_grad()
        sum(network(pictures, targets).values()).backward()
        optimizer.step()
    with torch.no_grad():
        found = network.eval()(pictures)
    metric = metrics.get("coco")(class_names=shapes.class_names, category_ids=None)
    metric.update(found, targets)
    assert metric.compute()["AP50"] > 0.95
