"""Ridge regression in closed form, from examples that come in parts and together may not fit into memory."""

import torch
from torch import Tensor


class Ridge:
    """Minimises the squared errors plus `penalty` times the squared weights; the bias costs nothing.

    Examples are kept until there are more of them than features, and from then on only their products: what is held and
    what is solved is the smaller of the two systems, with as many rows as examples or as features.

    Args:
        penalty: lambda (Girshick et al. 2013, appendix C: 1000).
    """

    def __init__(self, penalty: float) -> None:
        self.penalty = penalty
        self.examples = 0
        self._inputs: list[Tensor] = []
        self._outputs: list[Tensor] = []
        self._products: Tensor | None = None

    def add(self, inputs: Tensor, outputs: Tensor) -> None:
        """Take examples, inputs [N, P] and outputs [N, T]."""
        self.examples += len(inputs)
        self._inputs.append(inputs.double())
        self._outputs.append(outputs.double())
        if self._products is not None or self.examples > inputs.shape[1]:
            self._fold()

    def solve(self) -> tuple[Tensor, Tensor]:
        """The weights [T, P] and biases [T], float32, of at least one example."""
        if self._products is None:
            inputs, outputs = torch.cat(self._inputs), torch.cat(self._outputs)
            weight, bias = self._by_examples(inputs, outputs)
        else:
            weight, bias = self._by_features(self._products)
        return weight.float(), bias.float()

    def _fold(self) -> None:
        """Replace the examples by their products: with themselves, with a 1 for each, and with their outputs."""
        inputs, outputs = torch.cat(self._inputs), torch.cat(self._outputs)
        joined = torch.cat([inputs, inputs.new_ones(len(inputs), 1), outputs], dim=1)
        products = joined[:, : inputs.shape[1] + 1].T @ joined
        self._products = products if self._products is None else self._products.add_(products)
        self._inputs, self._outputs = [], []

    def _by_examples(self, inputs: Tensor, outputs: Tensor) -> tuple[Tensor, Tensor]:
        mean_in, mean_out = inputs.mean(dim=0), outputs.mean(dim=0)
        inputs, outputs = inputs - mean_in, outputs - mean_out
        weight = _solve(inputs @ inputs.T, outputs, self.penalty).T @ inputs
        return weight, mean_out - weight @ mean_in

    def _by_features(self, products: Tensor) -> tuple[Tensor, Tensor]:
        features = len(products) - 1
        mean = products[-1] / self.examples
        mean_in, mean_out = mean[:features], mean[features + 1 :]
        squares = products[:features, :features] - self.examples * torch.outer(mean_in, mean_in)
        mixed = products[:features, features + 1 :] - self.examples * torch.outer(mean_in, mean_out)
        weight = _solve(squares, mixed, self.penalty).T
        return weight, mean_out - weight @ mean_in


def _solve(squares: Tensor, right: Tensor, penalty: float) -> Tensor:
    """Solve (squares + penalty) x = right, the left side symmetric and positive definite."""
    squares.diagonal().add_(penalty)
    return torch.cholesky_solve(right, torch.linalg.cholesky(squares))
