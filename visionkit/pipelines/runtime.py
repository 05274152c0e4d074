"""Runtime options of a network, which do not change its output."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass
class RuntimeOptions:
    """Memory layout and compilation.

    Attributes:
        channels_last: whether the channels of each pixel are adjacent in memory, which is faster on CPUs and GPUs.
        compile: whether the network is compiled with torch.compile when training starts, which makes long runs on a
            GPU faster. A loaded checkpoint is not compiled, because compilation delays the first image by a minute.

    Example:
        >>> import visionkit as vk
        >>> vk.RuntimeOptions(channels_last=False).memory_format
        torch.contiguous_format
    """

    channels_last: bool = True
    compile: bool = False

    @property
    def memory_format(self) -> torch.memory_format:
        """Memory layout of images and weights."""
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def lay_out(self, images: Tensor) -> Tensor:
        """Return images [B, C, H, W] in the memory layout of the options."""
        return images.contiguous(memory_format=self.memory_format)

    def start_training(self, network: nn.Module) -> None:
        """Compile the network in place if requested. The keys of its state dict do not change."""
        if self.compile:
            network.compile()
