"""Neck of detectors without a feature pyramid."""

from collections.abc import Sequence

from torch import Tensor, nn


class SelectedMaps(nn.Module):
    """Maps of some stages, unchanged.

    Args:
        names: names of the stages.
    """

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self.names = list(names)

    def forward(self, x: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the maps of the selected stages."""
        return {name: x[name] for name in self.names}
