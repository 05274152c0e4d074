"""How a network is run; nothing here changes what it computes."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass
class RuntimeOptions:
    """Memory layout and compilation.

    Attributes:
        channels_last: keep the channels of each pixel together in memory: faster on CPUs and GPUs.
        compile: compile the network with torch.compile when training starts; pays off in long runs on a GPU. A loaded
            checkpoint is not compiled, because that takes a minute before the first image.

    Example:
        >>> import visionkit as vk
        >>> vk.RuntimeOptions(channels_last=False).memory_format
        torch.contiguous_format
    """

    channels_last: bool = True
    compile: bool = False

    @property
    def memory_format(self) -> torch.memory_format:
        """Layout of images and weights."""
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def lay_out(self, images: Tensor) -> Tensor:
        """Return images [B, C, H, W] in this layout."""
        return images.contiguous(memory_format=self.memory_format)

    def start_training(self, network: nn.Module) -> None:
        """Compile the network in place if asked to; the keys of its state dict do not change."""
        if self.compile:
            network.compile()
