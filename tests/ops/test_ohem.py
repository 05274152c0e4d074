import torch

from visionkit.ops.ohem import hardest_per_image


def test_each_image_gives_its_own_hardest():
    losses = torch.tensor([[0.1, 5.0, 0.3, 4.0], [9.0, 0.2, 0.05, 8.0], [1.0, 2.0, 3.0, 4.0]], requires_grad=True)
    allowed = torch.tensor([[True] * 4, [False, True, True, True], [False, True, False, False]])
    chosen = hardest_per_image(losses, allowed, 2)
    assert chosen.tolist() == [
        [False, True, False, True],
        [False, True, False, True],
        [False, True, False, False],
    ]
    assert torch.equal(hardest_per_image(losses, allowed, 9), allowed)


def test_a_loss_that_is_not_a_number_is_not_lost():
    losses, allowed = torch.tensor([[torch.nan, 1.0, 2.0]]), torch.ones(1, 3, dtype=torch.bool)
    assert hardest_per_image(losses, allowed, 2).tolist() == [[True, False, True]]
