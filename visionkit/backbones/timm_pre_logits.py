"""Features of timm models that their classifier takes."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call

from visionkit.backbones.base import Stage
from visionkit.backbones.timm_features import TimmBackbone
from visionkit.backbones.timm_network import TimmNetwork, create_timm, key_in_form, model_name
from visionkit.errors import ConfigError

PRE_LOGITS = "pre_logits"
"""Name of the only stage that is returned."""


class TimmPreLogits(TimmNetwork):
    """A timm model without its classifier: the pooled features, as of `timm.create_model(name, num_classes=0)`.

    Some models have pretrained layers between their last feature map and the classifier, which `TimmBackbone` leaves
    out: EfficientNet has 1,280 features instead of 320. The stages before are computed and can be frozen one by one.
    State-dict keys are those of timm's whole model after `body.`.

    Args:
        name: `timm/<model>`.
        out_stages: None or ["pre_logits"].
        **options: for `timm.create_model` (`drop_path_rate=0.1`).

    Raises:
        ConfigError: timm is not installed or has no such model.

    Example:
        >>> import torch
        >>> import visionkit as vk
        >>> backbone = vk.create_backbone("timm/tf_efficientnet_lite0", weights="none", pre_logits=True).eval()
        >>> with torch.no_grad():
        ...     maps = backbone(torch.zeros(1, 3, 64, 64))
        >>> {stage: tuple(map_.shape) for stage, map_ in maps.items()}
        {'pre_logits': (1, 1280, 1, 1)}
    """

    def __init__(
        self, name: str, out_stages: Sequence[str] | None = None, *, pre_logits: bool = True, **options: Any
    ) -> None:
        body = create_timm(model_name(name), num_classes=0, **options)
        inner = _inner_stages(name, options)
        size = body.pretrained_cfg["input_size"][1:]
        stages = {**(inner.computed if inner else {}), PRE_LOGITS: Stage(_features(body, size), int(size[0]))}
        super().__init__(name, stages, out_stages or [PRE_LOGITS], pre_logits=pre_logits, **options)
        if list(self.stages) != [PRE_LOGITS]:
            raise ConfigError(f"out_stages={list(self.stages)}: {name} with pre_logits returns that stage only")
        self._adopt(body, options)
        self.stage_modules = _modules_by_stage(body, inner)
        self._apply_policy()

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """See `Backbone.forward`; the map has one cell for images of any size."""
        return {PRE_LOGITS: self.body(x)[:, :, None, None]}


def _inner_stages(name: str, options: dict[str, Any]) -> TimmBackbone | None:
    """Return the network with feature maps, without values; None if timm cannot extract them."""
    try:
        with torch.device("meta"):
            return TimmBackbone(name, **options)
    except ConfigError:
        return None


def _features(body: Any, size: Sequence[int]) -> int:
    """Return the number of features."""
    values = {**dict(body.named_parameters()), **dict(body.named_buffers())}
    empty = {key: torch.empty_like(value, device="meta") for key, value in values.items()}
    return int(functional_call(body, empty, (torch.empty(2, 3, *size, device="meta"),)).shape[1])


def _modules_by_stage(body: Any, inner: TimmBackbone | None) -> dict[str, list[str]]:
    """Return the modules that own parameters by stage; those of none of the inner stages belong to the last stage."""
    inner_modules = inner.stage_modules if inner else {}
    stage_of = {module: stage for stage, modules in inner_modules.items() for module in modules}
    keys = {key for key, _ in inner.body.named_parameters()} if inner else set()
    found: dict[str, list[str]] = {stage: [] for stage in [*inner_modules, PRE_LOGITS]}
    for key, _ in body.named_parameters():
        stage = stage_of.get(_owner(key_in_form(key, keys)), PRE_LOGITS)
        found[stage].append(_owner(key))
    return {stage: list(dict.fromkeys(modules)) for stage, modules in found.items()}


def _owner(key: str) -> str:
    """Return the module of the backbone that owns a parameter of the body."""
    return f"body.{key}".rpartition(".")[0]
