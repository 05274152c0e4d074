"""Softmax regression on fixed features, and its predictions for examples that it was not trained on."""

import torch
from torch import Tensor
from torch.nn import functional

FOLDS = 5
ITERATIONS = 30
"""Iterations of L-BFGS, after which predictions of other examples hardly change."""

MOST_EXAMPLES = 15_000
"""Largest number of training examples of a fold; of more, a random part is taken."""


def fit_softmax(inputs: Tensor, labels: Tensor, classes: int, penalty: float) -> tuple[Tensor, Tensor]:
    """Return weights [P, K] and biases [K] of a softmax regression with class weights of 1 / sqrt(examples).

    Args:
        inputs: float32 [N, P], standardized.
        labels: int64 [N], 0..K-1.
        classes: K.
        penalty: factor of the sum of the squared weights, which is added to the mean cross-entropy.
    """
    counts = torch.bincount(labels, minlength=classes).clamp(min=1).float()
    example_weights = counts.rsqrt()[labels]
    example_weights = example_weights / example_weights.mean()
    weight = torch.zeros(inputs.shape[1], classes, requires_grad=True)
    bias = torch.zeros(classes, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=ITERATIONS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        errors = functional.cross_entropy(inputs @ weight + bias, labels, reduction="none")
        loss = (errors * example_weights).mean() + penalty * weight.square().sum()
        loss.backward()
        return loss

    with torch.enable_grad():
        optimizer.step(closure)
    return weight.detach(), bias.detach()


def out_of_fold_log_probabilities(
    features: Tensor, labels: Tensor, groups: Tensor, classes: int, penalty: float = 0.03, seed: int = 0
) -> Tensor:
    """Return the logarithm of the probability of each class for each example, from models without its group.

    The groups are divided into five folds at random. The examples of each fold are predicted by a model that was
    trained on the others.

    Args:
        features: [N, P].
        labels: int64 [N], 0..K-1.
        groups: int64 [N], index of the group of each example, such as its image.
        classes: K.
        penalty: see `fit_softmax`.
        seed: seed of the folds.

    Returns:
        float32 [N, K].

    Example:
        >>> import torch
        >>> from visionkit.ops.softmax_regression import out_of_fold_log_probabilities
        >>> labels = torch.arange(40) % 2
        >>> features = labels[:, None] + 0.1 * torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
        >>> predicted = out_of_fold_log_probabilities(features, labels, torch.arange(40), 2)
        >>> bool((predicted.argmax(1) == labels).all())
        True
    """
    inputs = features.float()
    inputs = (inputs - inputs.mean(dim=0)) / (inputs.std(dim=0, correction=0) + 1e-3)
    generator = torch.Generator().manual_seed(seed)
    _, group = torch.unique(groups, return_inverse=True)
    fold = (torch.randperm(int(group.max()) + 1, generator=generator) % FOLDS)[group]
    result = torch.zeros(len(labels), classes)
    for number in range(FOLDS):
        others = torch.nonzero(fold != number)[:, 0]
        if not len(others):
            continue
        if len(others) > MOST_EXAMPLES:
            others = others[torch.randperm(len(others), generator=generator)[:MOST_EXAMPLES]]
        weight, bias = fit_softmax(inputs[others], labels[others], classes, penalty)
        inside = fold == number
        result[inside] = (inputs[inside] @ weight + bias).log_softmax(dim=1)
    return result
