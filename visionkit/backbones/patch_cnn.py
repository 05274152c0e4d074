"""Small networks that classify the center pixel of a patch (Cireşan et al. 2012, tables 1 and 2)."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from visionkit.backbones.base import Stage, backbones
from visionkit.backbones.initialization import initialize
from visionkit.backbones.sequential import SequentialBackbone, named_sequential

CHANNELS = 48

_KERNELS = {"patch_cnn_33": (4, 4, 3), "patch_cnn_65": (4, 4, 3, 3), "patch_cnn_95": (4, 5, 4, 4)}


@backbones.register("patch_cnn_33", "patch_cnn_65", "patch_cnn_95")
class PatchCNN(SequentialBackbone):
    """Unpadded convolutions of 48 channels, each followed by a ReLU and a 2x2 pool; sizes are rounded down.

    Stage s2 is the map after the first pool, s4 that after the second, and so on. patch_cnn_95 has the layers of the
    paper's network N4; the others are smaller networks of the same kind.

    Args:
        name: registered name; the number is the side of the patch in pixels.
        out_stages: see `Backbone`.

    Attributes:
        patch: side of the patch in pixels.

    Example:
        >>> import torch
        >>> import visionkit as vk
        >>> backbone = vk.create_backbone("patch_cnn_65", weights="none").eval()
        >>> with torch.no_grad():
        ...     maps = backbone(torch.zeros(1, 3, backbone.patch, backbone.patch))
        >>> {stage: tuple(map_.shape) for stage, map_ in maps.items()}
        {'s2': (1, 48, 31, 31), 's4': (1, 48, 14, 14), 's8': (1, 48, 6, 6), 's16': (1, 48, 2, 2)}
    """

    def __init__(self, name: str, out_stages: Sequence[str] | None = None) -> None:
        parts, stages = {}, {}
        channels, stride, margin = 3, 1, 0
        for kernel in _KERNELS[name]:
            margin += (kernel - 1) * stride
            stride *= 2
            parts[f"s{stride}"] = named_sequential(
                conv=nn.Conv2d(channels, CHANNELS, kernel), relu=nn.ReLU(inplace=True), pool=nn.MaxPool2d(2)
            )
            stages[f"s{stride}"] = Stage(CHANNELS, stride, margin)
            channels = CHANNELS
        super().__init__(name, stages, parts, out_stages)
        self.patch = self.native_size = int(name.removeprefix("patch_cnn_"))
        initialize(self, "he")

    def dense(self, x: Tensor) -> tuple[Tensor, int]:
        """Compute the deepest map of the patches at all positions.

        The pools have stride 1 and the layers after them are dilated, so what overlapping patches share is computed
        once.

        Args:
            x: [B, 3, H, W].

        Returns:
            Map [B, 48, h, w] and the dilation d. The map of the patch at row y and column x is the first rows and
            columns of `map[:, :, y::d, x::d]`.
        """
        dilation = 1
        for part in self.parts.values():
            conv, pool = part.get_submodule("conv"), part.get_submodule("pool")
            assert isinstance(conv, nn.Conv2d)
            assert isinstance(pool, nn.MaxPool2d)
            x = functional.relu(functional.conv2d(x, conv.weight, conv.bias, dilation=dilation))
            x = functional.max_pool2d(x, pool.kernel_size, stride=1, dilation=dilation)
            dilation *= 2
        return x, dilation
