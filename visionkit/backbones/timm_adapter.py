"""Any timm model that can give feature maps, under the name `timm/<model>`."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from visionkit.backbones.contract import Backbone, Stage
from visionkit.backbones.published import PublishedWeights
from visionkit.backbones.registry import backbones
from visionkit.errors import RecipeError
from visionkit.registry import suggest


@backbones.register("timm/")
class TimmBackbone(Backbone):
    """timm's `features_only` form of a model; stages are named by its own strides, weights from timm's hub.

    State-dict keys are timm's own under `body.`.

    Args:
        name: `timm/<model>`.
        out_stages: see `Backbone`.

    Raises:
        RecipeError: timm is not installed, does not know the model, or cannot take features from it.
    """

    def __init__(self, name: str, out_stages: Sequence[str] | None = None) -> None:
        model_name = name.removeprefix("timm/")
        whole = _create(model_name)
        strides = [int(stride) for stride in whole.feature_info.reduction()]
        named = {f"s{stride}": index for index, stride in enumerate(strides)}  # of equal strides the deepest
        channels = whole.feature_info.channels()
        super().__init__(name, {stage: Stage(channels[i], strides[i]) for stage, i in named.items()}, out_stages)
        indices = [named[stage] for stage in self.computed]
        self.body = _create(model_name, out_indices=indices)
        settings = self.body.pretrained_cfg if hasattr(self.body, "pretrained_cfg") else whole.pretrained_cfg
        self.mean, self.std = tuple(settings["mean"]), tuple(settings["std"])
        self._settings = settings
        self.stage_modules = self._modules_by_stage()

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """See `Backbone.forward`."""
        features = zip(self.computed, self.body(x), strict=True)
        return {stage: feature for stage, feature in features if stage in self.stages}

    def published_weights(self) -> PublishedWeights | None:
        """See `Backbone.published_weights`."""
        if not self._settings.get("url") and not self._settings.get("hf_hub_id"):
            return None
        model_name = self.name.removeprefix("timm/")
        url = self._settings.get("url") or (
            f"https://huggingface.co/{self._settings['hf_hub_id']}/resolve/main/pytorch_model.bin"
        )
        return PublishedWeights(url, (f"{model_name}-imagenet.pth", url.rsplit("/", 1)[-1]))

    def translate(self, published: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See `Backbone.translate`; a flattened model names `blocks.0` as `blocks_0`."""
        own = set(self.body.state_dict())
        translated = {}
        for key, value in published.items():
            flat = _flattened(key, own)
            translated[f"body.{flat}"] = value
        return translated

    def _modules_by_stage(self) -> dict[str, list[str]]:
        """The children of the body in order, given to the first stage whose module they come before."""
        ends = [str(info["module"]).replace(".", "_") for info in self.body.feature_info.get_dicts()]
        names = [name for name, _ in _leaves_in_order(self.body)]
        stages: dict[str, list[str]] = {stage: [] for stage in self.computed}
        remaining = list(zip(self.computed, ends, strict=True))
        for name in names:
            if not remaining:
                break
            stage, end = remaining[0]
            stages[stage].append(f"body.{name}")
            if name.replace(".", "_") == end:
                remaining.pop(0)
        return stages


def _create(model_name: str, **options: Any) -> Any:
    try:
        import timm
    except ImportError as error:
        raise RecipeError("backbones timm/... need timm: pip install 'visionkit[timm]'") from error
    if not timm.is_model(model_name):
        raise RecipeError(f"timm has no model {model_name!r}{suggest(model_name, timm.list_models())}")
    try:
        return timm.create_model(model_name, pretrained=False, features_only=True, **options)
    except (RuntimeError, AttributeError, TypeError) as error:
        raise RecipeError(f"timm cannot take feature maps from {model_name}: {error}") from error


def _leaves_in_order(body: Any) -> list[tuple[str, Any]]:
    """Children of the body, with containers of stages (`blocks`) taken apart."""
    children: list[tuple[str, Any]] = []
    for name, child in body.named_children():
        inner = list(child.named_children())
        if name in ("blocks", "stages", "layers") and inner:
            children += [(f"{name}.{part}", module) for part, module in inner]
        else:
            children.append((name, child))
    return children


def _flattened(key: str, own: set[str]) -> str:
    """`key` as the body names it: as it stands, or with its first dot replaced."""
    flat = key.replace(".", "_", 1)
    return flat if key not in own and flat in own else key
