"""Ridge regression in closed form, for examples that are added in parts and may not fit into memory together."""

import torch
from torch import Tensor


class Ridge:
    """Ridge regression: minimize the squared errors plus `penalty` times the squared weights; the bias has no penalty.

    Examples are stored until there are more of them than features. Then they are replaced by their products, whose
    size does not depend on the number of examples, and new examples are stored again until they exceed the number of
    features. The smaller of two linear systems is solved, with as many rows as examples or as features.

    Args:
        penalty: lambda (Girshick et al. 2013, appendix C: 1000).
    """

    def __init__(self, penalty: float) -> None:
        self.penalty = penalty
        self.examples, self._pending = 0, 0
        self._inputs: list[Tensor] = []
        self._outputs: list[Tensor] = []
        self._products: Tensor | None = None

    def add(self, inputs: Tensor, outputs: Tensor) -> None:
        """Add examples with inputs [N, P] and outputs [N, T]."""
        self.examples += len(inputs)
        self._pending += len(inputs)
        self._inputs.append(inputs.double())
        self._outputs.append(outputs.double())
        if self._pending > inputs.shape[1]:
            self._fold()

    def solve(self) -> tuple[Tensor, Tensor]:
        """Return the weights [T, P] and biases [T], float32; at least one example must have been added."""
        if self._products is None:
            inputs, outputs = torch.cat(self._inputs), torch.cat(self._outputs)
            weight, bias = self._by_examples(inputs, outputs)
        else:
            if self._pending:
                self._fold()
            weight, bias = self._by_features(self._products)
        return weight.float(), bias.float()

    def _fold(self) -> None:
        """Replace the stored examples by the products of the inputs with the inputs, with ones and with the outputs."""
        inputs, outputs = torch.cat(self._inputs), torch.cat(self._outputs)
        self._inputs, self._outputs, self._pending = [], [], 0
        joined = torch.cat([inputs, inputs.new_ones(len(inputs), 1), outputs], dim=1)
        factors = joined[:, : inputs.shape[1] + 1].T
        self._products = factors @ joined if self._products is None else self._products.addmm_(factors, joined)

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
    """Solve (squares + penalty * I) x = right, where the matrix is symmetric and positive definite."""
    squares.diagonal().add_(penalty)
    return torch.cholesky_solve(right, torch.linalg.cholesky(squares))
