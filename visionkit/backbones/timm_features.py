"""Feature maps of timm models."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from visionkit.backbones.base import Stage
from visionkit.backbones.timm_network import TimmNetwork, create_timm, model_name


class TimmBackbone(TimmNetwork):
    """The `features_only` form of a timm model, with timm's strides, normalization and published weights.

    If several maps have the same stride (the blocks of a transformer), the stage is the deepest of them. State-dict
    keys are those of timm's `features_only` form after `body.`.

    Args:
        name: `timm/<model>`.
        out_stages: see `Backbone`.
        **options: for `timm.create_model` (`drop_path_rate=0.1`, `dynamic_img_size=True`).

    Raises:
        ConfigError: timm is not installed, has no such model, or cannot extract features from it.

    Example:
        >>> import torch
        >>> import visionkit as vk
        >>> backbone = vk.create_backbone("timm/mobilenetv3_small_050", weights="none", out_stages=["s8", "s16"]).eval()
        >>> with torch.no_grad():
        ...     maps = backbone(torch.zeros(1, 3, 64, 64))
        >>> {stage: tuple(map_.shape) for stage, map_ in maps.items()}
        {'s8': (1, 16, 8, 8), 's16': (1, 24, 4, 4)}
    """

    def __init__(self, name: str, out_stages: Sequence[str] | None = None, **options: Any) -> None:
        body = create_timm(model_name(name), features_only=True, **options)
        strides = body.feature_info.reduction()
        deepest = {f"s{stride}": position for position, stride in enumerate(strides)}
        channels = body.feature_info.channels()
        stages = {stage: Stage(int(channels[at]), int(strides[at])) for stage, at in deepest.items()}
        super().__init__(name, stages, out_stages, **options)
        out_indices = [body.feature_info.out_indices[deepest[stage]] for stage in self.computed]
        if out_indices != list(body.feature_info.out_indices):
            body = create_timm(model_name(name), features_only=True, out_indices=out_indices, **options)
        self._adopt(body, options)
        self._channels_come_last = getattr(body, "output_fmt", "NCHW") == "NHWC"
        owners = self._owners_by_stage()
        _cut_unused(body, {owner for names in owners.values() for owner in names})
        self.stage_modules = {stage: [f"body.{owner}" for owner in names] for stage, names in owners.items()}
        self._apply_policy()  # timm may keep modules that no stage needs; they do not train

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """See `Backbone.forward`."""
        maps = dict(zip(self.computed, self.body(x), strict=True))
        if self._channels_come_last:
            maps = {stage: map_.permute(0, 3, 1, 2) for stage, map_ in maps.items()}
        return {stage: maps[stage] for stage in self.stages}

    def _owners_by_stage(self) -> dict[str, list[str]]:
        """Return for each stage the modules that own parameters which the stages before it do not need.

        They are found in the autograd graph. The body runs on the meta device, which takes hardly any time.
        """
        body, size = self.body, self._published["input_size"][1:]
        parameters = {
            name: torch.empty_like(p, device="meta", requires_grad=True) for name, p in body.named_parameters()
        }
        buffers = {name: torch.empty_like(b, device="meta") for name, b in body.named_buffers()}
        maps = functional_call(body, {**parameters, **buffers}, (torch.empty(2, 3, *size, device="meta"),))
        seen: set[Any] = set()
        owners = {}
        for stage, map_ in zip(self.computed, maps, strict=True):
            needed = _leaves(map_.grad_fn, seen)
            owners[stage] = list(dict.fromkeys(n.rpartition(".")[0] for n, p in parameters.items() if id(p) in needed))
        return owners


def _leaves(node: Any, seen: set[Any]) -> set[int]:
    """Return the ids of the parameters that are reached from `node` through nodes not in `seen`, which is extended."""
    parameters, waiting = set(), [node]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):  # a leaf of the graph
            parameters.add(id(node.variable))
        waiting += [before for before, _ in node.next_functions]
    return parameters


def _cut_unused(body: nn.Module, owners: set[str]) -> None:
    """Remove the last children of the body's sequences that have parameters, but none of `owners`.

    timm does this itself for most models, but EfficientNet and MobileNet always keep all blocks.
    """
    for path, sequence in body.named_children():
        if not isinstance(sequence, nn.Sequential):
            continue
        names = list(dict(sequence.named_children()))
        used = [i for i, name in enumerate(names) if any(f"{o}.".startswith(f"{path}.{name}.") for o in owners)]
        behind = list(sequence)[used[-1] + 1 :] if used else []
        while behind and any(True for _ in behind.pop().parameters()):
            del sequence[-1]
