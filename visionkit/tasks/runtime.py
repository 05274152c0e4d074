"""How a network is run; nothing here changes what it computes."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass
class RuntimeOptions:
    """Memory layout and compilation.

    Attributes:
        channels_last: keep images and weights with their channels side by side: faster on CPUs and GPUs.
        compile: have torch.compile make kernels for the network when training starts; pays for long runs on a GPU.
            A loaded checkpoint is not compiled: it would wait a minute before its first image.
    """

    channels_last: bool = True
    compile: bool = False

    @property
    def memory_format(self) -> torch.memory_format:
        """The layout of images and weights."""
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def lay_out(self, images: Tensor) -> Tensor:
        """Images [B, C, H, W] in this layout."""
        return images.contiguous(memory_format=self.memory_format)

    def start_training(self, network: nn.Module) -> None:
        """Compile the network where that is asked for: in place, so that the keys of its state dict stay."""
        if self.compile:
            network.compile()
