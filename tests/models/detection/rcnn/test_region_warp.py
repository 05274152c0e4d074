import torch

from visionkit.models.detection.rcnn.region_warp import RegionWarp


def test_a_region_fills_the_square_except_for_its_context():
    image = torch.zeros(1, 1, 60, 80)
    image[..., 20:40, 30:50] = 1
    warped = RegionWarp(52, 16)({"image": image}, [torch.tensor([[30.0, 20, 50, 40]])])[0, 0]
    assert warped.shape == (52, 52)
    assert warped[17:35, 17:35].min() > 0.99
    assert warped[:15].max() == warped[:, 37:].max() == 0


def test_pixels_outside_the_image_are_the_mean_color():
    warped = RegionWarp(40, 10)({"image": torch.ones(1, 3, 30, 30)}, [torch.tensor([[0.0, 0, 30, 30]])])[0]
    assert warped[:, 11:29, 11:29].min() == 1
    assert warped[:, :7].max() == 0
