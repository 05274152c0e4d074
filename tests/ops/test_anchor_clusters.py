import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from visionkit.ops.anchor_clusters import cluster_shapes
from visionkit.ops.anchor_iou import best_anchor_iou

THREE = torch.tensor([[10.0, 10.0], [100.0, 30.0], [40.0, 200.0]])


def around_three(number=50):
    generator = torch.Generator().manual_seed(1)
    factors = 1 + 0.1 * (torch.rand(number, 3, 2, generator=generator) - 0.5)
    return (THREE * factors).flatten(0, 1)


@pytest.mark.parametrize("seed", range(5))
def test_separate_clusters_are_found_from_any_seed(seed):
    clusters = cluster_shapes(around_three(), 3, seed)
    torch.testing.assert_close(clusters.shapes, THREE.double(), rtol=0.02, atol=0)
    assert clusters.mean_iou > 0.93


def test_each_shape_is_the_mean_of_its_members():
    sizes = torch.rand(200, 2, generator=torch.Generator().manual_seed(2)).double() * 90 + 10
    shapes = cluster_shapes(sizes, 4).shapes
    groups = {}
    for width, height in sizes.tolist():
        overlaps = []
        for w, h in shapes.tolist():
            shared = min(w, width) * min(h, height)
            overlaps.append(shared / (w * h + width * height - shared))
        groups.setdefault(overlaps.index(max(overlaps)), []).append((width, height))
    for index, members in groups.items():
        torch.testing.assert_close(torch.tensor(members, dtype=torch.float64).mean(dim=0), shapes[index])


def test_mean_iou_is_that_of_the_best_shapes_and_grows_with_their_number():
    sizes = around_three()
    means = [cluster_shapes(sizes, count).mean_iou for count in (1, 2, 3)]
    assert means == sorted(means)
    clusters = cluster_shapes(sizes, 2)
    assert clusters.mean_iou == pytest.approx(best_anchor_iou(sizes.double(), clusters.shapes).mean().item())


@settings(max_examples=20)
@given(factor=st.floats(0.01, 100.0))
def test_the_unit_does_not_matter(factor):
    shapes, scaled = cluster_shapes(around_three(5), 3), cluster_shapes(around_three(5) * factor, 3)
    torch.testing.assert_close(scaled.shapes, shapes.shapes * factor, rtol=1e-4, atol=0)


def test_equal_objects_and_as_many_shapes_as_objects():
    same = torch.full((4, 2), 7.0)
    assert cluster_shapes(same, 3).mean_iou == 1
    assert cluster_shapes(THREE, 3).mean_iou == pytest.approx(1)


@pytest.mark.parametrize("sizes", [THREE[:2], torch.tensor([[0.0, 1.0], [1.0, 1.0], [2.0, 2.0]])])
def test_invalid_sizes_are_refused(sizes):
    with pytest.raises(ValueError, match="3 shapes"):
        cluster_shapes(sizes, 3)
