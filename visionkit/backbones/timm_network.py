"""Base of the networks that are models of timm, under the name `timm/<model>`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from visionkit.backbones.base import Backbone
from visionkit.backbones.published_weights import PublishedWeights
from visionkit.errors import ConfigError
from visionkit.registry import suggest


class TimmNetwork(Backbone):
    """Base of the forms of a timm model, with timm's normalization and published weights.

    Args:
        name: `timm/<model>`.
        network_stages, out_stages, **options: see `Backbone`.
    """

    body: nn.Module

    def _adopt(self, body: Any, timm_options: Mapping[str, Any]) -> None:
        """Make a timm model, which was created with these options, the network."""
        self.body = body
        self._timm_options = timm_options
        self._published = body.pretrained_cfg
        self.mean, self.std = tuple(self._published["mean"]), tuple(self._published["std"])
        self.native_size = int(self._published["input_size"][1])

    def published_weights(self) -> PublishedWeights | None:
        """See `Backbone.published_weights`; timm's default weights for this model.

        The file on timm's hub is preferred: files elsewhere may have the keys of another library.
        """
        name, hub_id, url = model_name(self.name), self._published["hf_hub_id"], self._published["url"]
        names = (f"{name}-imagenet.safetensors", f"{name}-imagenet.pth")
        if hub_id:
            return _on_hub(hub_id, names)
        return PublishedWeights(url, (url.rpartition("/")[2], *names)) if url else None

    def translate(self, published: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See `Backbone.translate`; drops entries of the whole model that this form does not have."""
        own = self.body.state_dict().keys()
        with torch.device("meta"):
            whole = create_timm(model_name(self.name), **self._timm_options).state_dict().keys()
        renamed = {key: key_in_form(key, own) for key in published}
        return {
            f"body.{renamed[key]}": value for key, value in published.items() if renamed[key] in own or key not in whole
        }


def model_name(name: str) -> str:
    """Return timm's name of the model `timm/<model>`."""
    return name.removeprefix("timm/")


def create_timm(model: str, **options: Any) -> Any:
    """Return a randomly initialized model of timm.

    Raises:
        ConfigError: timm is not installed, has no such model, or refuses the options.
    """
    try:
        import timm
    except ImportError as error:
        raise ConfigError("backbones timm/... need timm, of the extra \"timm\": pip install -e '.[timm]'") from error
    if not timm.is_model(model):
        raise ConfigError(f"timm has no model {model!r}{suggest(model, timm.list_models())}")
    if files := sorted({"checkpoint_path", "cache_dir", "pretrained_cfg", "pretrained_cfg_overlay"} & options.keys()):
        raise ConfigError(f"{files[0]} is not an option of backbones: weights= takes the path of a file")
    try:
        return timm.create_model(model, pretrained=False, **options)
    except (RuntimeError, AttributeError, TypeError) as error:
        raise ConfigError(f"timm cannot create {model} with these options: {error}") from error


def key_in_form(key: str, own: Any) -> str:
    """Return the key that the whole model's `key` has among those of another form, which may add or flatten containers.

    A key that the other form does not have stays the same.
    """
    return next((form for form in (key, key.replace(".", "_", 1), f"model.{key}") if form in own), key)


def _on_hub(hub_id: str, names: tuple[str, ...]) -> PublishedWeights:
    from huggingface_hub import hf_hub_url, try_to_load_from_cache  # installed with timm

    file = "model.safetensors"
    cached = try_to_load_from_cache(hub_id, file)
    return PublishedWeights(hf_hub_url(hub_id, file), names, Path(cached) if isinstance(cached, str) else None)
