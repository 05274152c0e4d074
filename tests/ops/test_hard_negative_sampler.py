"""Sampling of boxes for the loss: counts, and the hardest boxes compared with a plain sort."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from visionkit.ops.hard_negative_sampler import sample_with_hard_negatives, topk_mask


@settings(max_examples=60)
@given(
    kinds=st.lists(st.sampled_from([-1, 0, 0, 1, 3]), min_size=1, max_size=40),
    number=st.integers(1, 30),
    positive=st.sampled_from([0.0, 0.25, 0.5, 1.0]),
    hard=st.sampled_from([0.0, 0.3, 1.0]),
)
def test_counts_keep_the_rules_and_the_hardest_are_in(kinds, number, positive, hard):
    classes = torch.tensor([kinds, kinds[::-1]])
    hardness = torch.rand(classes.shape)
    chosen = sample_with_hard_negatives(classes, hardness, number, positive, hard)
    for kind, wrong, picked in zip(classes, hardness, chosen, strict=True):
        objects = min(int((kind > 0).sum()), int(number * positive))
        background = min(int((kind == 0).sum()), number - objects)
        assert int(picked[kind > 0].sum()) == objects
        assert int(picked[kind == 0].sum()) == background
        assert not picked[kind < 0].any()
        hardest = sorted(wrong[kind == 0].tolist(), reverse=True)[: round(hard * (number - objects))]
        assert set(hardest) <= set(wrong[picked].tolist())


def test_what_is_not_hard_is_drawn_at_random():
    torch.manual_seed(0)
    hardness = torch.arange(100.0)[None]
    times = sum(
        sample_with_hard_negatives(torch.zeros(1, 100, dtype=torch.long), hardness, 20, 0.25, 0.5).float()
        for _ in range(400)
    )[0]
    assert (times[90:] == 400).all()  # the ten hardest each time
    assert (times[:90] - 400 * 10 / 90).abs().max() < 30


def test_the_highest_of_each_row():
    values = torch.tensor([[0.1, 0.9, 0.5, 0.7], [0.4, 0.3, 0.2, 0.1]])
    allowed = torch.tensor([[True, False, True, True], [False, True, True, True]])
    found = topk_mask(values, allowed, torch.tensor([2, 9]))
    assert found.tolist() == [[False, False, True, True], [False, True, True, True]]
