"""The classification network: logits of torchvision's, dense answers, and a description that rebuilds it."""

import json

import pytest
import torch

from visionkit.backbones import create_backbone
from visionkit.errors import RecipeError
from visionkit.models import create_model
from visionkit.models.classification.classifier import Classifier


def classifier(name, num_classes=5, **options):
    return Classifier(create_backbone(name, weights="none"), num_classes, **options)


def test_spec_rebuilds_the_structure():
    network = classifier("resnet18", dropout=0.3)
    spec = json.loads(json.dumps(network.spec))
    backbone = create_backbone(**spec.pop("backbone"))
    again = create_model(backbone=backbone, **spec)
    assert again.spec == network.spec
    again.load_state_dict(network.state_dict())


@pytest.mark.parametrize(("options", "word"), [({"head": "averge"}, "average"), ({"num_classes": 0}, "num_classes=0")])
def test_a_wrong_argument_is_named(options, word):
    with pytest.raises(RecipeError, match=word):
        classifier("resnet18", **options)


def test_the_main_head_comes_first_with_weight_one():
    network = classifier("resnet18").eval()
    picture = torch.randn(2, 3, 40, 50)
    [(weight, logits)] = network.logits_of_all_heads(picture)
    assert weight == 1
    assert torch.equal(logits, network(picture))
