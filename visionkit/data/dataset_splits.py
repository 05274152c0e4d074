"""Splits made of dataset objects, for `VisionData.from_datasets`."""

from collections.abc import Mapping

from visionkit.data.datasets.base import RequiredAnnotation, VisionDataset
from visionkit.data.exclude import ExcludeOptions
from visionkit.data.holdout import HoldoutOptions
from visionkit.data.splits import Splits
from visionkit.errors import ConfigError


class DatasetSplits(Splits):
    """Splits whose datasets exist already.

    Args:
        datasets: the dataset of each split.
        holdout, required, bit_depth, excluded: see `Splits`.

    Raises:
        ConfigError: `holdout` is given although there is a `val` dataset, or `bit_depth` is out of its range.
    """

    def __init__(
        self,
        datasets: Mapping[str, VisionDataset],
        holdout: HoldoutOptions | None = None,
        required: RequiredAnnotation | None = None,
        bit_depth: int | None = None,
        excluded: Mapping[str, ExcludeOptions] | None = None,
    ) -> None:
        super().__init__(holdout, required, bit_depth, excluded)
        self.datasets = datasets
        self._check_holdout()
        self._check_excluded()

    @property
    def names(self) -> list[str]:
        """See `Splits`."""
        return [*self.datasets]

    def open(self, split: str) -> VisionDataset:
        """See `Splits`."""
        if split not in self.datasets:
            raise ConfigError(f"there is no {split} dataset: pass it to VisionData.from_datasets")
        return self._with_bit_depth(self.datasets[split], f"the dataset of {split}")
