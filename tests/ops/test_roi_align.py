import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.ops import roi_align

from visionkit.ops.roi_align import multi_level_roi_align, sum_of_levels

FORMS = [multi_level_roi_align, sum_of_levels]

edge = st.floats(-40, 200, width=32)
box = st.tuples(edge, edge, st.floats(0, 150, width=32), st.floats(0, 150, width=32))


@settings(max_examples=60)
@given(
    st.sampled_from([multi_level_roi_align, sum_of_levels]), st.lists(box, min_size=1, max_size=5), st.integers(1, 4)
)
def test_equals_torchvision_also_outside_of_the_map(pool, boxes, size):
    corners = torch.tensor([(x, y, x + w, y + h) for x, y, w, h in boxes])
    feature_map = torch.randn(1, 3, 11, 14, generator=torch.Generator().manual_seed(0))
    rois = torch.cat([torch.zeros(len(boxes), 1), corners], dim=1)
    pooled = pool([feature_map], [8], rois, torch.zeros(len(boxes), dtype=torch.int64), size)
    expected = roi_align(feature_map, [corners], size, spatial_scale=1 / 8, sampling_ratio=2)
    torch.testing.assert_close(pooled, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("pool", FORMS)
@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format])
def test_values_and_gradients_on_several_maps_and_images(memory_format, pool):
    generator = torch.Generator().manual_seed(1)
    maps = [
        torch.randn(2, 5, 96 // s, 128 // s, generator=generator).contiguous(memory_format=memory_format)
        for s in (4, 8)
    ]  # fmt: skip
    corners = torch.rand(7, 2, generator=generator) * 60
    boxes = torch.cat([corners, corners + 1 + torch.rand(7, 2, generator=generator) * 40], dim=1)
    levels = torch.tensor([0, 1, 1, 0, 0, 1, 0])
    image = torch.tensor([0, 0, 0, 0, 1, 1, 1])
    weight = torch.randn(7, 5, 3, 3, generator=generator)

    own = [level.clone().requires_grad_() for level in maps]
    pooled = pool(own, [4, 8], torch.cat([image[:, None], boxes], dim=1), levels, 3)
    (pooled * weight).sum().backward()

    theirs = [level.clone().requires_grad_() for level in maps]
    for number, (level, stride) in enumerate(zip(theirs, (4, 8), strict=True)):
        chosen = levels == number
        rois = torch.cat([image[chosen, None], boxes[chosen]], dim=1)
        expected = roi_align(level, rois, 3, spatial_scale=1 / stride, sampling_ratio=2)
        torch.testing.assert_close(pooled[chosen], expected, atol=1e-5, rtol=1e-4)
        (expected * weight[chosen]).sum().backward()
    for one, other in zip(own, theirs, strict=True):
        torch.testing.assert_close(one.grad, other.grad, atol=1e-5, rtol=1e-4)
