from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from visionkit.ops.tiles import blended_strips, blending_weights, tile_starts


@given(length=st.integers(1, 300), tile=st.integers(2, 80), data=st.data())
def test_tiles_cover_every_pixel_and_share_enough(length, tile, data):
    overlap = data.draw(st.integers(0, tile - 1))
    starts = tile_starts(length, tile, overlap)
    side = min(tile, length)
    assert starts[0] == 0
    assert starts[-1] == length - side
    for before, after in pairwise(starts):
        assert before < after <= before + tile - overlap


@settings(max_examples=40)
@given(height=st.integers(1, 60), width=st.integers(1, 60), tile=st.integers(2, 30), data=st.data())
def test_blended_tiles_equal_the_whole_where_a_pixel_sees_itself_alone(height, width, tile, data):
    overlap = data.draw(st.integers(0, tile - 1))
    image = torch.randn(2, height, width)
    answer = lambda row: (3 * place.cut(image) + 1 for place in row)  # noqa: E731
    strips = list(blended_strips(height, width, tile, overlap, answer))
    torch.testing.assert_close(torch.cat(strips, dim=1), 3 * image + 1)
    assert max(strip.shape[1] for strip in strips) <= tile


def test_seams_are_smooth():
    """Two tiles that disagree: the blend changes from one to the other in steps no larger than those of the ramp."""
    tile, overlap = 40, 16
    answer = lambda row: (torch.full((1, place.height, place.width), float(place.left > 0)) for place in row)  # noqa: E731
    (strip,) = blended_strips(tile, 64, tile, overlap, answer)
    line = strip[0, 20]
    assert line[0] == 0
    assert line[-1] == 1
    steps = line.diff()
    assert (steps >= 0).all()
    assert steps.max() <= 2 / overlap


def test_weights_fall_to_the_edges_and_are_never_zero():
    weights = blending_weights(9, 9, 3)
    assert weights[4].tolist() == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1, 0.75, 0.5, 0.25])
    assert weights.min() > 0
    assert torch.equal(blending_weights(4, 4, 0), torch.ones(4, 4))
