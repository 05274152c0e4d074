import pytest
import torch
from torch import nn

from visionkit.backbones import create_backbone
from visionkit.engine.feature_key import backbone_structure, fingerprint, weights_digest


def test_every_part_changes_the_fingerprint():
    base = (1, {"name": "a"}, {"crop": 32}, b"weights")
    others = [(2, *base[1:]), (1, {"name": "b"}, *base[2:]), (*base[:2], {"crop": 24}, b"weights"), (*base[:3], b"w")]
    assert len({fingerprint(*parts) for parts in [base, *others]}) == 5


def test_the_order_of_options_does_not_matter():
    assert fingerprint(1, {"a": 1, "b": 2}, {}, b"") == fingerprint(1, {"b": 2, "a": 1}, {}, b"")


def test_the_structure_of_a_backbone_is_without_its_weights_and_their_training():
    first, second = (
        create_backbone("cifar_resnet20", weights="checkpoint", batch_norm=norm) for norm in ("trained", "eval")
    )
    second.freeze("all")
    assert backbone_structure(first) == backbone_structure(second)
    assert backbone_structure(first) != backbone_structure(create_backbone("cifar_resnet32", weights="none"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_digest_of_weights_covers_parameters_and_buffers(dtype):
    layer = nn.BatchNorm1d(3).to(dtype)
    before = weights_digest(layer)
    assert weights_digest(layer) == before
    layer.running_mean += 1
    after = weights_digest(layer)
    assert after != before
    layer.weight.data[0] = 2
    assert weights_digest(layer) not in (before, after)
