"""Reading weights files: state dicts, safetensors and visionkit checkpoints."""

import logging
import os
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from visionkit.backbones.base import Backbone
from visionkit.errors import CheckpointError

logger = logging.getLogger("visionkit")

COLOR = re.compile(r"\x1b\[[0-9;]*m")
"""Escape sequences of text colors, which torch puts in its messages."""

StateDict = dict[str, Tensor]


class Normalization(NamedTuple):
    """Mean and standard deviation per channel that images are normalized with, see `Backbone`."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class LoadedWeights:
    """Weights that were read from a file.

    Attributes:
        state: tensors under the keys of the network that they are for.
        source: path of the file.
        normalization: normalization of the images that the weights were trained on; None if the file has none.
    """

    state: StateDict
    source: str
    normalization: Normalization | None = None

    def record(self, backbone: Backbone) -> None:
        """Record in `backbone` where its weights come from, and how images are normalized for them."""
        backbone.initialized_from, backbone.is_randomly_initialized = self.source, False
        if self.normalization is not None and self.normalization != (backbone.mean, backbone.std):
            backbone.mean, backbone.std = self.normalization
            mean, std = (", ".join(f"{value:.4g}" for value in values) for values in self.normalization)
            logger.info("%s: images are normalized with its mean %s and std %s", self.source, mean, std)


def read_tensors(path: Path) -> Any:
    """Return the content of a weights file (torch or safetensors) on the CPU, without unpickling objects.

    Raises:
        CheckpointError: the file is missing, truncated, or holds more than tensors and plain values.
    """
    if not os.path.isfile(path):  # False also for a name that no file can have
        raise CheckpointError(
            f"there is no weights file {str(path)!r}\nweights: auto, imagenet, none, or the path of a file"
        )
    try:
        if path.suffix == ".safetensors":
            return _read_safetensors(path)
        is_archive = zipfile.is_zipfile(path)  # as torch.save writes it since 1.6
        if is_archive:
            _check_records(path)
        # An archive is mapped into memory, so that unused tensors, such as those of the optimizer, are not read.
        return torch.load(path, map_location="cpu", weights_only=True, mmap=is_archive)
    except Exception as error:  # a broken file can raise anything, depending on its content
        reason = COLOR.sub("", (str(error).splitlines() or [type(error).__name__])[0])
        raise CheckpointError(
            f"{path} cannot be read: it is truncated, or holds more than plain tensors and values\n({reason[:160]})"
        ) from error


def check_state_dict(state: Any, path: Path) -> StateDict:
    """Return a state dict whose names and tensors were checked.

    Raises:
        CheckpointError: it is not a dict of named tensors, or a tensor has fewer values in the file than in its shape.
    """
    if not isinstance(state, Mapping):
        raise CheckpointError(f"{path} is broken: its state_dict is no dict of tensors")
    for name, tensor in state.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise CheckpointError(f"{path} is broken: its state_dict has {name!r:.60}, which is no named tensor")
        is_plain = tensor.layout == torch.strided and tensor.device.type == "cpu" and not tensor.is_quantized
        if not is_plain or tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise CheckpointError(f"{path} is broken: the values of its tensor {name} are not all in the file")
    return dict(state)


def check_finite(state: StateDict, path: Path) -> None:
    """Check that all values are finite.

    Raises:
        CheckpointError: a tensor has a value that is NaN or infinite. The message names the tensor.
    """
    for name, tensor in state.items():
        # A sum is ten times as fast as isfinite. It can overflow, so only a finite one proves that all values are.
        if tensor.is_floating_point() and not tensor.sum(dtype=torch.float32).isfinite():
            bad = int((~tensor.isfinite()).sum())
            if bad:
                raise CheckpointError(
                    f"{path} cannot be used: {bad} of {tensor.numel()} values of {name} are NaN or infinite\n"
                    "its training diverged: use an earlier checkpoint"
                )


def is_checkpoint(content: Any) -> bool:
    """Return whether `content` is that of a visionkit checkpoint."""
    parts = ("visionkit", "state_dict")
    return isinstance(content, Mapping) and all(isinstance(content.get(part), Mapping) for part in parts)


def normalization_in(checkpoint: Mapping[str, Any]) -> Normalization | None:
    """Return the normalization of images that a visionkit checkpoint was trained with."""
    options = checkpoint["visionkit"].get("preprocess", {})
    mean, std = options.get("mean"), options.get("std")
    return Normalization(tuple(mean), tuple(std)) if mean and std else None


def as_state_dict(content: Any, path: Path) -> StateDict:
    """Return a file's content as a state dict; one below "state_dict" or "model", as scripts save it, is taken out.

    Raises:
        CheckpointError: the content is anything but a dict of named tensors.
    """
    wrapped = [content[key] for key in ("state_dict", "model") if isinstance(content, Mapping) and key in content]
    state = wrapped[0] if wrapped and isinstance(wrapped[0], Mapping) else content
    if not isinstance(state, Mapping) or not state or not all(isinstance(v, Tensor) for v in state.values()):
        raise CheckpointError(f"{path} holds neither a state dict nor a visionkit checkpoint")
    return dict(state)


def _check_records(path: Path) -> None:
    """Check that an archive holds no compressed or overlapping records, which could fill the memory.

    Raises:
        ValueError: it does; torch.save writes neither.
    """
    with zipfile.ZipFile(path) as archive:
        records = archive.infolist()
    if any(
        record.compress_type != zipfile.ZIP_STORED or record.file_size != record.compress_size for record in records
    ):
        raise ValueError("it has compressed records, which torch.save does not write")
    if sum(record.file_size for record in records) > os.path.getsize(path):
        raise ValueError("its records are larger than the file")


def _read_safetensors(path: Path) -> StateDict:
    from safetensors import SafetensorError  # installed with timm; no other library publishes such files here
    from safetensors.torch import load_file as load_safetensors

    try:
        return dict(load_safetensors(path))
    except SafetensorError as error:
        raise ValueError(str(error)) from error
