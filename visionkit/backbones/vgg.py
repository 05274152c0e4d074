"""VGG (Simonyan & Zisserman 2014, table 1: all six columns), plain and with BatchNorm, without its classifier."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import torchvision
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.vgg import cfgs, make_layers

from visionkit.backbones.base import Backbone, Stage, backbones
from visionkit.backbones.published_weights import PublishedWeights, torchvision_weights, without_head
from visionkit.backbones.response_norm import ResponseNorm
from visionkit.registry import Registry

_COLUMNS = {"vgg11": "A", "vgg13": "B", "vgg16": "D", "vgg19": "E"}
_STAGES = {
    "s1": Stage(64, 1),
    "s2": Stage(128, 2),
    "s4": Stage(256, 4),
    "s8": Stage(512, 8),
    "s16": Stage(512, 16),
    "s32": Stage(512, 32),
}


vgg_variants: Registry[Callable[[str], nn.Sequential]] = Registry("variant of VGG")
"""Variants by what follows the underscore of a name; each builds all layers of a column, as torchvision names it."""


@backbones.register(
    "vgg11", "vgg11_lrn", "vgg13", "vgg16", "vgg16_c", "vgg19", "vgg11_bn", "vgg13_bn", "vgg16_bn", "vgg19_bn"
)
class VGG(Backbone):
    """VGG. Stages s1..s16 are the maps before each pool (conv1_x..conv5_x after ReLU), s32 is that after the last.

    vgg11 is column A of the paper's table 1, vgg11_lrn A-LRN, vgg13 B, vgg16_c C, vgg16 D, vgg19 E. Sizes are rounded
    down at each pool. State-dict keys are torchvision's own (`features.0.weight`).

    Args:
        name: registered name.
        out_stages: see `Backbone`.

    Example:
        >>> import torch
        >>> import visionkit as vk
        >>> backbone = vk.create_backbone("vgg11", weights="none", out_stages=["s4", "s8", "s16"]).eval()
        >>> with torch.no_grad():
        ...     maps = backbone(torch.zeros(1, 3, 64, 64))
        >>> {stage: tuple(map_.shape) for stage, map_ in maps.items()}
        {'s4': (1, 256, 16, 16), 's8': (1, 512, 8, 8), 's16': (1, 512, 4, 4)}
    """

    default_head = "vgg"

    def __init__(self, name: str, out_stages: Sequence[str] | None = None) -> None:
        super().__init__(name, _STAGES, out_stages)
        column, _, variant = name.partition("_")
        layers = vgg_variants.get(variant or "plain")(_COLUMNS[column])
        pools = [index for index, layer in enumerate(layers) if isinstance(layer, nn.MaxPool2d)]
        self._ends = dict(zip([*pools, len(layers)], _STAGES, strict=True))
        self.features = layers[: {stage: end for end, stage in self._ends.items()}[list(self.computed)[-1]]]
        self.stage_modules = {stage: [] for stage in self.computed}
        for index, stage in enumerate(self._stage_of_each_layer()):
            self.stage_modules[stage].append(f"features.{index}")
        self._initialize()

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """See `Backbone.forward`."""
        return self._run(x, lambda before: functional.max_pool2d(before, 2))

    def forward_with_indices(self, x: Tensor) -> tuple[dict[str, Tensor], list[Tensor]]:
        """Compute the feature maps and the indices of the pools' maxima, for max unpooling.

        Args:
            x: [B, 3, H, W], normalized with `mean` and `std`.

        Returns:
            What `forward` returns, and for each computed pool, shallow to deep, the int64 indices
            [B, C, h // 2, w // 2] into the flat h * w map before it (as of `torch.nn.MaxUnpool2d`).
        """
        indices: list[Tensor] = []

        def pool(before: Tensor) -> Tensor:
            after, where = functional.max_pool2d(before, 2, return_indices=True)
            indices.append(where)
            return after

        return self._run(x, pool), indices

    def layers_by_name(self) -> dict[str, list[str]]:
        """Return for each convolution, by the paper's name ("conv3_2"), its module name and that of its BatchNorm."""
        layers: dict[str, list[str]] = {}
        stages, orders = list(self.computed), Counter[str]()
        for index, stage in enumerate(self._stage_of_each_layer()):
            layer = self.features[index]
            if isinstance(layer, nn.Conv2d):
                orders[stage] += 1
                name = f"conv{stages.index(stage) + 1}_{orders[stage]}"
                layers[name] = [f"features.{index}"]
            elif isinstance(layer, nn.BatchNorm2d):
                layers[name].append(f"features.{index}")
        return layers

    def published_weights(self) -> PublishedWeights | None:
        """See `Backbone.published_weights`; there are none for A-LRN and C."""
        return torchvision_weights(self.name) if self.name in torchvision.models.list_models() else None

    def translate(self, published: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See `Backbone.translate`."""
        return without_head(published, "classifier.")

    def _run(self, x: Tensor, pool: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
        maps = {}
        for index, layer in enumerate(self.features):
            if index in self._ends:
                maps[self._ends[index]] = x
            x = pool(x) if isinstance(layer, nn.MaxPool2d) else layer(x)
        maps[list(self.computed)[-1]] = x
        return {stage: maps[stage] for stage in self.stages}

    def _stage_of_each_layer(self) -> list[str]:
        stages = list(self.computed)
        pools_before = 0
        stage_of_layer = []
        for layer in self.features:
            pools_before += isinstance(layer, nn.MaxPool2d)  # a pool belongs to the stage after it
            stage_of_layer.append(stages[pools_before])
        return stage_of_layer

    def _initialize(self) -> None:
        """Initialize by He over fan out, with zero biases, as torchvision's VGG."""
        for layer in self.features:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)


@vgg_variants.register("plain")
def _plain(column: str) -> nn.Sequential:
    return make_layers(cfgs[column])


@vgg_variants.register("bn")
def _with_batch_norm(column: str) -> nn.Sequential:
    return make_layers(cfgs[column], batch_norm=True)


@vgg_variants.register("lrn")
def _with_response_norm(column: str) -> nn.Sequential:
    """Return the layers of A-LRN: a local response normalization follows the first convolution and its ReLU."""
    convolution, relu, *rest = _plain(column)
    return nn.Sequential(convolution, relu, ResponseNorm(), *rest)


@vgg_variants.register("c")
def _with_pointwise(column: str) -> nn.Sequential:
    """Return the layers of C: D with 1x1 convolutions as the third of stages 3 to 5."""
    layers = _plain(column)
    pools = [index for index, layer in enumerate(layers) if isinstance(layer, nn.MaxPool2d)]
    for pool in pools[2:]:
        third = layers[pool - 2]
        assert isinstance(third, nn.Conv2d)
        layers[pool - 2] = nn.Conv2d(third.in_channels, third.out_channels, 1)
    return layers
