import torch

from visionkit.ops.ohem import hardest_per_image


def test_each_image_gives_its_own_hardest():
    losses = torch.tensor([0.1, 5.0, 0.3, 4.0, 9.0, 0.2, 0.05], requires_grad=True)
    chosen = hardest_per_image(losses, [4, 0, 1, 2], 2)
    assert chosen.tolist() == [1, 3, 4, 5, 6]
    assert hardest_per_image(losses[:0], [0, 0], 2).tolist() == []
