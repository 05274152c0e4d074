import pytest
import torch
from torchvision.models.detection import anchor_utils
from torchvision.models.detection.image_list import ImageList

from visionkit.errors import ConfigError
from visionkit.models.detection.parts.anchors import (
    AnchorGenerator,
    AnchorOptions,
    CachedAnchorGenerator,
    check_anchor_levels,
)

SIZES, RATIOS = [[16, 24], [32, 48]], [0.5, 1.0, 2.0]
MAPS = [torch.zeros(1, 1, 8, 12), torch.zeros(1, 1, 4, 6)]


def test_anchors_equal_torchvision():
    anchors, anchors_per_level = AnchorGenerator(SIZES, RATIOS).grid((64, 96), MAPS)
    reference = anchor_utils.AnchorGenerator(tuple(map(tuple, SIZES)), (tuple(RATIOS),) * 2)
    (expected,) = reference(ImageList(torch.zeros(1, 3, 64, 96), [(64, 96)]), MAPS)
    assert torch.equal(anchors, expected)
    assert anchors_per_level == [8 * 12 * 6, 4 * 6 * 6]


def test_shapes_are_those_of_all_sizes_and_ratios():
    shapes = AnchorGenerator(SIZES, RATIOS).shapes()
    assert shapes.shape == (12, 2)
    assert (shapes[:, 1] / shapes[:, 0]).tolist() == pytest.approx([0.5, 0.5, 1, 1, 2, 2] * 2, rel=0.1)  # rounded


def test_anchors_of_a_size_are_generated_once_and_the_oldest_are_dropped():
    calls = []

    class Recorded(CachedAnchorGenerator):
        def generate(self, padded, maps):
            calls.append(padded)
            return [torch.zeros(1, 4)]

    grid = Recorded()
    for width in [*range(grid.max_cached), 0, grid.max_cached, 0]:
        grid.grid((8, width), MAPS[:1])
    assert [width for _, width in calls] == [*range(grid.max_cached), grid.max_cached, 0]


def test_anchors_made_in_inference_mode_can_be_used_in_training():
    anchors = AnchorGenerator(SIZES, RATIOS)
    with torch.inference_mode():
        anchors.grid((64, 96), MAPS)
    assert not anchors.grid((64, 96), MAPS)[0].is_inference()


@pytest.mark.parametrize(
    "options", [{"aspect_ratios": ()}, {"aspect_ratios": (1.0, 0.0)}, {"sizes": ((8, -4), (16, 32))}]
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ConfigError, match=f"^{next(iter(options))}="):
        AnchorOptions(**options)


@pytest.mark.parametrize("sizes", [[[8]], [[8], [16, 32]], [[], []]])
def test_sizes_must_fit_the_levels(sizes):
    with pytest.raises(ConfigError, match=r"this model has 2 levels[\s\S]*published: \[\[8\], \[16\]\]"):
        check_anchor_levels(sizes, [[8], [16]])
    assert check_anchor_levels([[4], [8]], [[8], [16]]) == [[4], [8]]
