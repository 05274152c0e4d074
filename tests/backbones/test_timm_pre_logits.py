"""Timm models that return the features of their classifier."""

import pytest
import torch

from visionkit.backbones import create_backbone
from visionkit.backbones.base import Stage
from visionkit.errors import ConfigError
from visionkit.models.classification.classifier import Classifier

timm = pytest.importorskip("timm")

MODELS = ["tf_efficientnet_lite0", "mobilenetv3_small_050", "convnext_atto", "vit_tiny_patch16_224"]


def with_file_of(model, folder, **options):
    """Return timm's model, and a backbone with the weights of its file."""
    whole = timm.create_model(model)
    torch.save(whole.state_dict(), folder / "weights.pth")
    return whole.eval(), create_backbone(
        f"timm/{model}", str(folder / "weights.pth"), pre_logits=True, **options
    ).eval()


def trained(backbone):
    return {name.removeprefix("body.") for name, value in backbone.named_parameters() if value.requires_grad}


@pytest.mark.parametrize("model", MODELS)
def test_the_features_are_those_that_timm_classifies(model, tmp_path):
    whole, backbone = with_file_of(model, tmp_path)
    image = torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        expected = whole.forward_head(whole.forward_features(image), pre_logits=True)
        assert torch.equal(backbone(image)["pre_logits"], expected[:, :, None, None])
    assert backbone.stages == {"pre_logits": Stage(expected.shape[1], 224)}


@pytest.mark.parametrize("model", MODELS)
def test_all_stages_are_frozen_one_after_the_other(model, tmp_path):
    whole, backbone = with_file_of(model, tmp_path)
    classifier = {
        name for name, _ in whole.get_classifier().named_parameters(prefix=whole.pretrained_cfg["classifier"])
    }
    seen = [trained(backbone)]
    assert seen[0] == {name for name, _ in whole.named_parameters()} - classifier
    for stages in range(1, len(backbone.computed) + 1):
        backbone.freeze(stages)
        seen.append(trained(backbone))
        assert seen[-1] < seen[-2]
    assert not seen[-1]


def test_the_stages_are_those_of_the_feature_maps(tmp_path):
    _, backbone = with_file_of("tf_efficientnet_lite0", tmp_path, frozen_stages=5)
    assert list(backbone.computed) == ["s2", "s4", "s8", "s16", "s32", "pre_logits"]
    assert trained(backbone) == {"conv_head.weight", "bn2.weight", "bn2.bias"}


def test_it_is_built_again_from_its_spec():
    backbone = create_backbone("timm/resnet18", "none", pre_logits=True)
    again = create_backbone(**backbone.spec)
    assert again.spec == {**backbone.spec, "initialized_from": "random"}
    assert again.state_dict().keys() == backbone.state_dict().keys()
    assert backbone.full_network_keys() == set(backbone.state_dict())


def test_a_classifier_takes_them():
    model = Classifier(create_backbone("timm/tf_efficientnet_lite0", "none", pre_logits=True), num_classes=3).eval()
    assert model(torch.zeros(1, 3, 64, 96)).shape == (1, 3)
    assert model.head.fc.in_features == 1280


def test_there_are_no_feature_maps():
    with pytest.raises(ConfigError, match="with pre_logits returns that stage only"):
        create_backbone("timm/resnet18", "none", out_stages=["s32"], pre_logits=True)
    with pytest.raises(ConfigError, match="timm has no model"):
        create_backbone("timm/resnet17", "none", pre_logits=True)
