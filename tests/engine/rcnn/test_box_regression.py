import numpy as np
import pytest
import torch

from visionkit.backbones import create_backbone
from visionkit.engine.rcnn.box_regression import BoxRegression
from visionkit.engine.rcnn.region_features import TrainingRegions, scale_to_mean_norm
from visionkit.models import create_model
from visionkit.ops.matching import Objects


@pytest.fixture(scope="module")
def network():
    backbone = create_backbone("resnet18", weights="none")
    options = {"warp_size": 32, "context": 4, "head_channels": 8, "box_regression": {"enabled": True, "penalty": 1e-6}}
    return create_model("rcnn", backbone, 2, **options).eval()


def test_the_regression_of_a_class_moves_its_proposals_to_the_objects(network, tmp_path):
    """Features with one value per proposal, proportional to the shift along x."""
    inputs = network.fitted_layers["box_regression"].weight.shape[1]
    objects = torch.tensor([[10.0, 10, 50, 50]])
    shifts = torch.tensor([-4.0, -2, 1, 3])
    boxes = objects + shifts[:, None] * torch.tensor([1.0, 0, 1, 0])
    features = np.zeros((4, inputs), np.float16)
    features[:, 0] = shifts / 4
    file = tmp_path / "0.npz"
    regions = torch.cat([objects, boxes]).numpy()
    np.savez(file, regions=regions, pairs=np.arange(1, 5), deepest=features, deepest_unit=np.float32(1))
    training = TrainingRegions([file], [Objects(objects, torch.tensor([1]), torch.zeros(0, 4))], b"")
    weight, bias = BoxRegression().fit_regions(training, network)
    assert weight.shape == (8, inputs)
    assert not weight[:4].any(), "a class without objects moves no box"
    assert not bias[:4].any()
    coding = torch.from_numpy(features.astype(np.float32)) @ weight[4:].T + bias[4:]
    expected = network.roi_heads.box_coder.encode(objects.expand(4, -1), boxes)
    torch.testing.assert_close(coding, expected, atol=1e-3, rtol=1e-3)


def test_features_are_scaled_to_a_mean_norm_of_20():
    rows = [torch.tensor([[3.0, 4.0]]), torch.zeros(0, 2), torch.tensor([[0.0, 15.0]])]
    assert scale_to_mean_norm(iter(rows)) == pytest.approx(2.0)
    assert scale_to_mean_norm(iter([torch.zeros(2, 3)])) == 1.0
    assert scale_to_mean_norm(iter([])) == 1.0


def test_the_key_depends_on_the_options_of_the_stage(network):
    before = BoxRegression().options(network)
    assert before == {"classes": 2, "iou": 0.6, "penalty": 1e-6}
