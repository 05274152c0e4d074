"""Any timm model that can give feature maps, under the name `timm/<model>`."""

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
    """The `features_only` form of a timm model, with timm's own strides, normalization and published weights.

    Where several of its maps have one stride (the inner blocks of a transformer) the deepest gives the stage.
    State-dict keys are those of timm's feature form under `body.`.

    Args:
        name: `timm/<model>`.
        out_stages: see `Backbone`.
        **options: for `timm.create_model` (`drop_path_rate=0.1`, `dynamic_img_size=True`).

    Raises:
        ConfigError: timm is not installed, does not know the model, or cannot take features from it.
    """

    def __init__(self, name: str, out_stages: Sequence[str] | None = None, **options: Any) -> None:
        model_name = name.removeprefix("timm/")
        body = _create(model_name, features_only=True, **options)
        strides = body.feature_info.reduction()
        deepest = {f"s{stride}": position for position, stride in enumerate(strides)}
        channels = body.feature_info.channels()
        stages = {stage: Stage(int(channels[at]), int(strides[at])) for stage, at in deepest.items()}
        super().__init__(name, stages, out_stages, **options)
        wanted = [body.feature_info.out_indices[deepest[stage]] for stage in self.computed]
        if wanted != list(body.feature_info.out_indices):
            body = _create(model_name, features_only=True, out_indices=wanted, **options)
        self.body = body
        self._channels_come_last = getattr(body, "output_fmt", "NCHW") == "NHWC"
        self._published = body.pretrained_cfg
        self.mean, self.std = tuple(self._published["mean"]), tuple(self._published["std"])
        self.native_size = int(self._published["input_size"][1])
        owners = self._owners_by_stage()
        _cut_unused(body, {owner for names in owners.values() for owner in names})
        self.stage_modules = {stage: [f"body.{owner}" for owner in names] for stage, names in owners.items()}
        self._apply_policy()  # what no stage needs and timm keeps nevertheless does not train

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """See `Backbone.forward`."""
        maps = dict(zip(self.computed, self.body(x), strict=True))
        if self._channels_come_last:
            maps = {stage: map_.permute(0, 3, 1, 2) for stage, map_ in maps.items()}
        return {stage: maps[stage] for stage in self.stages}

    def published_weights(self) -> PublishedWeights | None:
        """See `Backbone.published_weights`; timm's default weights for this model.

        From its hub if they are there, since files elsewhere may have the keys of another library.
        """
        name, hub_id, url = self.name.removeprefix("timm/"), self._published["hf_hub_id"], self._published["url"]
        names = (f"{name}-imagenet.safetensors", f"{name}-imagenet.pth")
        if hub_id:
            return _on_hub(hub_id, names)
        return PublishedWeights(url, (url.rpartition("/")[2], *names)) if url else None

    def translate(self, published: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See `Backbone.translate`; leaves aside what the whole model has and its feature form does not."""
        own = self.body.state_dict().keys()
        with torch.device("meta"):
            whole = _create(self.name.removeprefix("timm/"), **self._options).state_dict().keys()
        renamed = {key: _key_in_feature_form(key, own) for key in published}
        return {
            f"body.{renamed[key]}": value for key, value in published.items() if renamed[key] in own or key not in whole
        }

    def _owners_by_stage(self) -> dict[str, list[str]]:
        """Modules whose own parameters a stage needs beyond the stages before it, read off the autograd graph.

        The body runs on the meta device: shapes and the graph, but no numbers and no time.
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
    """Ids of the parameters that the autograd graph reaches from `node` through nodes not in `seen`, which grows."""
    found, waiting = set(), [node]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            found.add(id(node.variable))
        waiting += [before for before, _ in node.next_functions]
    return found


def _create(model_name: str, **options: Any) -> Any:
    try:
        import timm
    except ImportError as error:
        raise ConfigError("backbones timm/... need timm: pip install 'visionkit[timm]'") from error
    if not timm.is_model(model_name):
        raise ConfigError(f"timm has no model {model_name!r}{suggest(model_name, timm.list_models())}")
    try:
        return timm.create_model(model_name, pretrained=False, **options)
    except (RuntimeError, AttributeError, TypeError) as error:
        raise ConfigError(f"timm cannot make a backbone of {model_name}: {error}") from error


def _cut_unused(body: nn.Module, owners: set[str]) -> None:
    """Drop the last parts of the body's sequences that have parameters, but none of `owners`.

    timm itself does this for most models; EfficientNet's and MobileNet's feature forms always keep all blocks.
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
    """`key` of a whole model as its feature form has it: the same, or with a container taken apart or put around."""
    return next((form for form in (key, key.replace(".", "_", 1), f"model.{key}") if form in own), key)


def _on_hub(hub_id: str, names: tuple[str, ...]) -> PublishedWeights:
    from huggingface_hub import hf_hub_url, try_to_load_from_cache  # comes with timm

    file = "model.safetensors"
    cached = try_to_load_from_cache(hub_id, file)
    return PublishedWeights(hf_hub_url(hub_id, file), names, Path(cached) if isinstance(cached, str) else None)
