"""VGG (Simonyan & Zisserman 2014, table 1: columns A, B, D, E), plain and with BatchNorm, without its classifier."""

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.vgg import cfgs, make_layers

from visionkit.backbones.contract import Backbone, Stage
from visionkit.backbones.published import PublishedWeights, torchvision_weights, without_head
from visionkit.backbones.registry import backbones

_COLUMNS = {"vgg11": "A", "vgg13": "B", "vgg16": "D", "vgg19": "E"}
_STAGES = {
    "s1": Stage(64, 1),
    "s2": Stage(128, 2),
    "s4": Stage(256, 4),
    "s8": Stage(512, 8),
    "s16": Stage(512, 16),
    "s32": Stage(512, 32),
}


@backbones.register("vgg11", "vgg13", "vgg16", "vgg19", "vgg11_bn", "vgg13_bn", "vgg16_bn", "vgg19_bn")
class VGG(Backbone):
    """Stages s1..s16 are the maps before each pool (conv1_x..conv5_x after ReLU), s32 after the last pool.

    Sizes round down at each pool. State-dict keys are torchvision's own (`features.0.weight`).

    Args:
        name: registered name.
        out_stages: see `Backbone`.
    """

    usual_head = "vgg"

    def __init__(self, name: str, out_stages: Sequence[str] | None = None) -> None:
        super().__init__(name, _STAGES, out_stages)
        column, _, batch_norm = name.partition("_")
        layers = make_layers(cfgs[_COLUMNS[column]], batch_norm=bool(batch_norm))
        pools = [index for index, layer in enumerate(layers) if isinstance(layer, nn.MaxPool2d)]
        self._ends = dict(zip([*pools, len(layers)], _STAGES, strict=True))
        self.features = layers[: {stage: end for end, stage in self._ends.items()}[list(self.computed)[-1]]]
        self.stage_modules = {stage: [] for stage in self.computed}
        for index, stage in enumerate(self._stage_of_each_layer()):
            self.stage_modules[stage].append(f"features.{index}")
        self._initialise()

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """See `Backbone.forward`."""
        return self._run(x, lambda before: functional.max_pool2d(before, 2))

    def forward_with_indices(self, x: Tensor) -> tuple[dict[str, Tensor], list[Tensor]]:
        """Compute the feature maps and where each pool found its maxima, for max unpooling.

        Args:
            x: [B, 3, H, W], normalised with `mean` and `std`.

        Returns:
            What `forward` returns, and for each pool that was run, shallow to deep, the int64 indices
            [B, C, h // 2, w // 2] into the flat h * w map before it (as of `torch.nn.MaxUnpool2d`).
        """
        indices: list[Tensor] = []

        def pool(before: Tensor) -> Tensor:
            after, where = functional.max_pool2d(before, 2, return_indices=True)
            indices.append(where)
            return after

        return self._run(x, pool), indices

    def published_weights(self) -> PublishedWeights:
        """See `Backbone.published_weights`."""
        return torchvision_weights(self.name)

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
        answer = []
        for layer in self.features:
            pools_before += isinstance(layer, nn.MaxPool2d)  # a pool opens the stage after it
            answer.append(stages[pools_before])
        return answer

    def _initialise(self) -> None:
        """He initialisation over fan out and zero biases, as torchvision's VGG has them."""
        for layer in self.features:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
