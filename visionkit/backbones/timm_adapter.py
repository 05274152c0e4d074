"""Adapter for timm models with feature maps, under the name `timm/<model>`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from visionkit.backbones.base import Backbone, Stage, backbones
from visionkit.backbones.published_weights import PublishedWeights
from visionkit.errors import ConfigError
from visionkit.registry import suggest


@backbones.register("timm/")
class TimmBackbone(Backbone):
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
        model_name = name.removeprefix("timm/")
        body = _create(model_name, features_only=True, **options)
        strides = body.feature_info.reduction()
        deepest = {f"s{stride}": position for position, stride in enumerate(strides)}
        channels = body.feature_info.channels()
        stages = {stage: Stage(int(channels[at]), int(strides[at])) for stage, at in deepest.items()}
        super().__init__(name, stages, out_stages, **options)
        out_indices = [body.feature_info.out_indices[deepest[stage]] for stage in self.computed]
        if out_indices != list(body.feature_info.out_indices):
            body = _create(model_name, features_only=True, out_indices=out_indices, **options)
        self.body = body
        self._channels_come_last = getattr(body, "output_fmt", "NCHW") == "NHWC"
        self._published = body.pretrained_cfg
        self.mean, self.std = tuple(self._published["mean"]), tuple(self._published["std"])
        self.native_size = int(self._published["input_size"][1])
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

    def published_weights(self) -> PublishedWeights | None:
        """See `Backbone.published_weights`; timm's default weights for this model.

        The file on timm's hub is preferred: files elsewhere may have the keys of another library.
        """
        name, hub_id, url = self.name.removeprefix("timm/"), self._published["hf_hub_id"], self._published["url"]
        names = (f"{name}-imagenet.safetensors", f"{name}-imagenet.pth")
        if hub_id:
            return _on_hub(hub_id, names)
        return PublishedWeights(url, (url.rpartition("/")[2], *names)) if url else None

    def translate(self, published: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See `Backbone.translate`; drops entries of the whole model that its `features_only` form does not have."""
        own = self.body.state_dict().keys()
        with torch.device("meta"):
            whole = _create(self.name.removeprefix("timm/"), **self._options).state_dict().keys()
        renamed = {key: _key_in_feature_form(key, own) for key in published}
        return {
            f"body.{renamed[key]}": value for key, value in published.items() if renamed[key] in own or key not in whole
        }

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


def _create(model_name: str, **options: Any) -> Any:
    try:
        import timm
    except ImportError as error:
        raise ConfigError("backbones timm/... need timm, of the extra \"timm\": pip install -e '.[timm]'") from error
    if not timm.is_model(model_name):
        raise ConfigError(f"timm has no model {model_name!r}{suggest(model_name, timm.list_models())}")
    if files := sorted({"checkpoint_path", "cache_dir", "pretrained_cfg", "pretrained_cfg_overlay"} & options.keys()):
        raise ConfigError(f"{files[0]} is not an option of backbones: weights= takes the path of a file")
    try:
        return timm.create_model(model_name, pretrained=False, **options)
    except (RuntimeError, AttributeError, TypeError) as error:
        raise ConfigError(f"timm cannot extract features from {model_name}: {error}") from error


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


def _key_in_feature_form(key: str, own: Any) -> str:
    """Return the key of the `features_only` form for the whole model's `key`: containers may be added or flattened."""
    return next((form for form in (key, key.replace(".", "_", 1), f"model.{key}") if form in own), key)


def _on_hub(hub_id: str, names: tuple[str, ...]) -> PublishedWeights:
    from huggingface_hub import hf_hub_url, try_to_load_from_cache  # installed with timm

    file = "model.safetensors"
    cached = try_to_load_from_cache(hub_id, file)
    return PublishedWeights(hf_hub_url(hub_id, file), names, Path(cached) if isinstance(cached, str) else None)
