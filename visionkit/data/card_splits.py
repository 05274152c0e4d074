"""The splits that a data card describes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from visionkit.data.datasets.base import RequiredAnnotation, VisionDataset, formats
from visionkit.data.datasets.concatenated import ConcatenatedDataset
from visionkit.data.datasets.recognition import SPLITS
from visionkit.data.exclude import ExcludeOptions
from visionkit.data.holdout import HoldoutOptions
from visionkit.data.packed.stream_options import StreamOptions
from visionkit.data.splits import Splits
from visionkit.errors import ConfigError
from visionkit.registry import suggest
from visionkit.text import is_url

SplitOptions = dict[str, Any] | list[dict[str, Any]]


class CardSplits(Splits):
    """The splits of a data card, read by the dataset class of its format.

    Args:
        format: data format, a name of `visionkit list formats`.
        root: folder that the paths of the card are relative to; None for formats without files.
        options: options of the dataset class for each split; a list of them is read as one dataset.
        classes: class names in label order; None takes them from the annotation files.
        holdout, required, bit_depth, excluded: see `Splits`.
        stream: order and cache of packed data.

    Raises:
        ConfigError: a split has an unknown name or no options; `root` is an URL or `stream` is given, and the format is
            read from folders; `holdout` is given although the card has a `val` split; or `bit_depth` is out of its
            range.
    """

    def __init__(
        self,
        format: str,
        root: str | None,
        options: Mapping[str, SplitOptions],
        classes: list[str] | None = None,
        holdout: HoldoutOptions | None = None,
        required: RequiredAnnotation | None = None,
        bit_depth: int | None = None,
        stream: StreamOptions | None = None,
        excluded: Mapping[str, ExcludeOptions] | None = None,
    ) -> None:
        super().__init__(holdout, required, bit_depth, excluded)
        self.format, self.root, self.options, self.classes, self.stream = format, root, options, classes, stream
        self._check_options()
        self._check_holdout()
        self._check_excluded()

    @property
    def image_root(self) -> Path | None:
        """See `Splits`."""
        return None if self.root is None else Path(self.root)

    @property
    def names(self) -> list[str]:
        """See `Splits`."""
        return [*self.options]

    def open(self, split: str) -> VisionDataset:
        """See `Splits`."""
        if split not in self.options:
            raise ConfigError(
                f"the data card has no split {split!r}{suggest(split, self.options)}\nadd it under data.splits"
            )
        options = self.options[split]
        parts = [self._read(part) for part in (options if isinstance(options, list) else [options])]
        return parts[0] if len(parts) == 1 else ConcatenatedDataset(parts)

    def _place(self) -> dict[str, Any]:
        """Return the arguments of the dataset class that say where its files are."""
        if formats.is_streamed(self.format):
            return {"root": self.root, "stream": self.stream}
        if self.stream is not None:
            raise ConfigError(f"stream is for the format packed, not for {self.format}\nremove data.stream")
        if self.root is not None and is_url(self.root):
            raise ConfigError(
                f"root={self.root} is an URL, and the format {self.format} is read from a folder\n"
                "download it first, or pack it: visionkit data pack CARD OUT"
            )
        return {"root": None if self.root is None else Path(self.root)}

    def _check_options(self) -> None:
        for split, options in self.options.items():
            if split not in SPLITS:
                raise ConfigError(f"data.splits.{split}: unknown split{suggest(split, SPLITS)}")
            parts = options if isinstance(options, list) else [options]
            if not parts or not all(isinstance(part, dict) for part in parts):
                raise ConfigError(
                    f"data.splits.{split}={options!r} must hold the options of the split, or a list of them"
                )

    def _read(self, options: dict[str, Any]) -> VisionDataset:
        needed = formats.options_for(self.format, self.required)
        arguments = {**options, **needed, **self._place()}
        if self.classes is not None:
            arguments["classes"] = self.classes
        dataset: VisionDataset = formats.get(self.format)(**arguments)
        return self._with_bit_depth(dataset, f"the format {self.format}")
