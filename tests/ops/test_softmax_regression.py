import torch
from torch.nn import functional

from visionkit.ops.softmax_regression import fit_softmax, out_of_fold_log_probabilities


def test_it_minimizes_the_loss():
    generator = torch.Generator().manual_seed(0)
    inputs, labels = torch.randn(120, 4, generator=generator), torch.arange(120) % 3
    inputs[:, 0] += labels
    weight, bias = fit_softmax(inputs, labels, 3, 0.01)

    def loss(weight, bias):
        return functional.cross_entropy(inputs @ weight + bias, labels) + 0.01 * weight.square().sum()

    least = loss(weight, bias)
    for _ in range(20):
        step = 0.05 * torch.randn(4, 3, generator=generator)
        assert loss(weight + step, bias + 0.05 * torch.randn(3, generator=generator)) > least


def test_an_example_does_not_learn_from_its_group():
    """Each group has a feature of its own: with it, the training data would be fitted without error."""
    generator = torch.Generator().manual_seed(0)
    groups = torch.arange(60) // 2
    features, labels = functional.one_hot(groups).float(), torch.randint(0, 2, (30,), generator=generator)[groups]
    predicted = out_of_fold_log_probabilities(features, labels, groups, 2, penalty=1e-4)
    assert (predicted.argmax(1) == labels).float().mean() < 0.75
    weight, bias = fit_softmax(features, labels, 2, 1e-4)
    assert ((features @ weight + bias).argmax(1) == labels).all()


def test_the_probabilities_sum_to_one():
    predicted = out_of_fold_log_probabilities(torch.randn(20, 3), torch.arange(20) % 4, torch.arange(20), 4)
    assert torch.allclose(predicted.exp().sum(1), torch.ones(20))
