import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.ops import batched_nms, box_iou

from tests.helpers.boxes import candidates, iou
from visionkit.errors import ConfigError, VisionkitError
from visionkit.ops import nms, waiting
from visionkit.ops.boxes import paired_iou
from visionkit.ops.nms import Candidates, NMSOptions, keep_in_groups, nms_kinds

THRESHOLD = 0.0613
"""No score or share of one in these tests comes to it exactly."""


def slow_hard(found, options, one_group):
    """Return the result of greedy NMS in a plain loop."""
    boxes, labels = found.boxes.tolist(), found.labels.tolist()
    kept = []
    for index in found.scores.sort(descending=True, stable=True).indices.tolist():
        rivals = [other for other in kept if one_group or labels[other] == labels[index]]
        if all(iou(boxes[index], boxes[other]) <= options.iou for other in rivals):
            kept.append(index)
    return [(index, found.scores[index].item()) for index in kept[: options.max_detections]]


def slow_soft(found, options, share):
    """Return soft-NMS of Bodla et al. 2017, figure 2, per class and box by box."""
    boxes, labels = found.boxes.tolist(), found.labels.tolist()
    kept = []
    for label in set(labels):
        left = {i: s for i, s in enumerate(found.scores.tolist()) if labels[i] == label and s > options.score_threshold}
        while left:
            best = max(left, key=left.__getitem__)
            kept.append((best, left.pop(best)))
            left = {i: s * share(iou(boxes[best], boxes[i])) for i, s in left.items()}
            left = {i: s for i, s in left.items() if s > options.score_threshold}
    return sorted(kept, key=lambda pair: -pair[1])[: options.max_detections]


SLOW = {
    "per_class": lambda found, options: slow_hard(found, options, False),
    "class_agnostic": lambda found, options: slow_hard(found, options, True),
    "soft_linear": lambda found, options: slow_soft(found, options, lambda o: 1 - o if o >= options.iou else 1.0),
    "soft_gaussian": lambda found, options: slow_soft(found, options, lambda o: math.exp(-(o**2) / options.sigma)),
}


def test_every_kind_has_a_slow_reference():
    assert set(SLOW) == set(nms_kinds)


@pytest.mark.parametrize("kind", sorted(SLOW))
@settings(max_examples=150)
@given(found=candidates(), most=st.integers(1, 30))
def test_scores_equal_the_slow_reference(kind, found, most):
    options = NMSOptions(kind, 0.47, most, THRESHOLD)
    kept = options(found)
    expected = SLOW[kind](found, options)
    # Of equal scores the first is taken; where lowered scores differ by rounding alone, the order is open.
    if not (kind.startswith("soft") and _tied(SLOW[kind](found, NMSOptions(kind, 0.47, 1000, THRESHOLD)))):
        assert [index for index, _ in expected] == kept.indices.tolist()
        torch.testing.assert_close(kept.scores, torch.tensor([s for _, s in expected]), atol=1e-5, rtol=1e-4)
    assert len(kept.indices) <= most
    assert (kept.scores.diff() <= 0).all()
    assert len(set(kept.indices.tolist())) == len(kept.indices)
    assert (kept.scores <= found.scores[kept.indices]).all()


def _tied(expected):
    scores = [score for _, score in expected]
    return any(abs(one - other) < 1e-6 for one, other in itertools.pairwise(scores))


@pytest.mark.parametrize("kind", sorted(SLOW))
def test_many_boxes_equal_the_slow_reference(kind):
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(300, 2, generator=generator) * 60
    boxes = torch.cat([corners, corners + 5 + 30 * torch.rand(300, 2, generator=generator)], dim=1)
    found = Candidates(boxes, torch.rand(300, generator=generator), torch.randint(0, 4, (300,), generator=generator))
    options = NMSOptions(kind, 0.5, 100, THRESHOLD)
    kept, expected = options(found), SLOW[kind](found, options)
    assert kept.indices.tolist() == [index for index, _ in expected]
    torch.testing.assert_close(kept.scores, torch.tensor([score for _, score in expected]), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", sorted(SLOW))
def test_a_box_below_the_threshold_that_equals_a_better_one_harms_no_other(kind):
    boxes = torch.tensor([[0.0, 0, 1, 3], [0, 0, 1, 1], [0, 0, 1, 1]])
    found = Candidates(boxes, torch.tensor([0.1, 0.15, 0.05]), torch.zeros(3, dtype=torch.int64))
    assert NMSOptions(kind, 0.47, 10, THRESHOLD)(found).indices.tolist() == [1, 0]


@pytest.mark.parametrize("kind", sorted(SLOW))
def test_equal_boxes_of_one_class_and_of_two(kind):
    boxes = torch.tensor([[0.0, 0, 10, 10]] * 3)
    found = Candidates(boxes, torch.tensor([0.9, 0.9, 0.8]), torch.tensor([0, 0, 1]))
    kept = NMSOptions(kind, 0.5, 10, THRESHOLD)(found)
    expected = {
        "per_class": [0.9, 0.8],
        "class_agnostic": [0.9],
        "soft_linear": [0.9, 0.8],  # the twin's share is 0
        "soft_gaussian": [0.9, 0.8, 0.9 * math.exp(-2)],
    }
    assert kept.scores.tolist() == pytest.approx(expected[kind])


@pytest.mark.parametrize("kind", sorted(SLOW))
def test_no_candidates(kind):
    nothing = Candidates(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64))
    kept = NMSOptions(kind)(nothing)
    assert kept.indices.shape == kept.scores.shape == (0,)
    assert kept.indices.dtype == torch.int64


@pytest.mark.parametrize("kind", sorted(SLOW))
def test_nan_is_refused(kind):
    found = Candidates(torch.tensor([[0.0, 0, 1, 1]]), torch.tensor([math.nan]), torch.tensor([0]))
    with pytest.raises(VisionkitError, match="not finite"):
        NMSOptions(kind)(found)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"kind": "soft"}, "soft_linear"),
        ({"iou": 1.5}, r"iou=1\.5"),
        ({"max_detections": 0}, "max_detections=0"),
        ({"sigma": 0.0}, r"sigma=0\.0"),
        ({"score_threshold": 1.0}, r"score_threshold=1\.0"),
    ],
)
def test_wrong_options_are_refused(wrong, message):
    with pytest.raises(ConfigError, match=message):
        NMSOptions(**wrong)


@given(found=candidates(), others=candidates())
def test_paired_iou_equals_torchvisions(found, others):
    pairs = paired_iou(found.boxes[:, None], others.boxes)
    torch.testing.assert_close(pairs, box_iou(found.boxes, others.boxes))


@pytest.mark.parametrize("max_boxes", [1 << 15, 50, 1])
def test_groups_of_boxes_do_not_drop_each_other_on_a_cpu_and_on_a_gpu(max_boxes, monkeypatch):
    generator = torch.Generator().manual_seed(0)
    corners = torch.randint(0, 40, (3, 30, 2), generator=generator).float()
    boxes = torch.cat([corners, corners + torch.randint(5, 25, (3, 30, 2), generator=generator)], dim=2)
    scores, groups = torch.rand(3, 30, generator=generator), [12, 0, 17, 1]
    scores[0, :5] = -torch.inf
    kept = keep_in_groups(boxes, scores, groups, 0.3, 64)
    numbers = torch.arange(4).repeat_interleave(torch.tensor(groups))
    expected = [
        set(batched_nms(own, own_scores, numbers, 0.3).tolist()) for own, own_scores in zip(boxes, scores, strict=True)
    ]
    assert [set(mask.nonzero().flatten().tolist()) for mask in kept] == expected
    assert 0 < kept.sum() < kept.numel()
    monkeypatch.setattr(waiting, "HOSTS", frozenset())
    monkeypatch.setattr(nms, "MAX_NMS_BOXES", max_boxes)
    assert torch.equal(keep_in_groups(boxes, scores, groups, 0.3, 64), kept)
