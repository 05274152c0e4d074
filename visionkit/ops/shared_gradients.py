"""Gradients of several losses with respect to parameters that they share."""

from collections.abc import Sequence

import torch
from torch import Tensor


def shared_gradients(losses: Sequence[Tensor], parameters: Sequence[Tensor]) -> Tensor:
    """Return the gradient of each loss, float32 [T, P], with P the number of values of all parameters.

    The graph is kept, so that the losses can be used afterwards. A parameter on which a loss does not depend has the
    gradient 0.

    Args:
        losses: T scalars.
        parameters: the parameters; all of them require gradients.
    """
    return torch.stack([_flat(loss, parameters) for loss in losses])


def _flat(loss: Tensor, parameters: Sequence[Tensor]) -> Tensor:
    if not loss.requires_grad:  # such as that of a head without labels in the batch
        return torch.cat([torch.zeros_like(parameter).flatten() for parameter in parameters]).float()
    gradients = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    pairs = zip(gradients, parameters, strict=True)
    return torch.cat(
        [(torch.zeros_like(parameter) if gradient is None else gradient).flatten() for gradient, parameter in pairs]
    ).float()


def cosine_similarities(gradients: Tensor) -> Tensor:
    """Return the cosine similarity of each pair of gradients, [T, T] for [T, P]; 0 with a gradient that is 0.

    Values below 0 show losses that pull the parameters in opposite directions.

    Example:
        >>> import torch
        >>> from visionkit.ops.shared_gradients import cosine_similarities
        >>> cosine_similarities(torch.tensor([[1.0, 0.0], [-2.0, 0.0], [0.0, 0.0]])).tolist()
        [[1.0, -1.0, 0.0], [-1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]
    """
    lengths = gradients.norm(dim=1, keepdim=True)
    units = torch.where(lengths > 0, gradients / lengths.clamp(min=torch.finfo(gradients.dtype).tiny), 0)
    return units @ units.T + 0.0  # no negative zeros


def project_conflicting(gradients: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Return gradients without the parts that conflict with other gradients (PCGrad: Yu et al. 2020, algorithm 1).

    Each gradient goes through the others in random order. If its product with one is negative, its component along that
    one is removed.

    Args:
        gradients: [T, P], one gradient of each task.
        generator: source of the random orders; None uses torch's global one.
    """
    projected = gradients.clone()
    squares = gradients.square().sum(dim=1)
    for task, gradient in enumerate(projected):
        for other in torch.randperm(len(gradients), generator=generator).tolist():
            product = gradient @ gradients[other]
            if other != task and product < 0:
                gradient -= product / squares[other] * gradients[other]
    return projected
