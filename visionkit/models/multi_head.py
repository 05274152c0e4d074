"""Several models with one backbone, which answer for boxes, pixels and labels in one forward pass."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import nn

from visionkit.backbones.base import Backbone
from visionkit.backbones.create import create_backbone
from visionkit.backbones.shared import SharedBackbone, SharedPass
from visionkit.errors import ConfigError
from visionkit.models.base import Model
from visionkit.models.create import create_model
from visionkit.registry import suggest


class MultiHead(nn.Module):
    """Several models with one backbone.

    Each head is a model of `create_model` whose backbone is a view of the common one. Inside `with model.one_pass():`
    the heads that get equal images share the forward pass of the backbone.

    Args:
        backbone: the common backbone; it returns the stages of all heads.
        heads: for each head `name`, `num_classes` and options of the model (`create_model`), and `out_stages`, the
            stages that it gets; by default all.

    Attributes:
        heads: the models by the name of the head. Their weights are those of the layers after the backbone.

    Raises:
        ConfigError: there is no head, or a head cannot be built on this backbone.

    Example:
        >>> import torch
        >>> import visionkit as vk
        >>> heads = {
        ...     "objects": {"name": "retinanet", "num_classes": 3, "out_stages": ["s8", "s16", "s32"]},
        ...     "regions": {"name": "unet", "num_classes": 5},
        ...     "tags": {"name": "classifier", "num_classes": 7, "multi_label": True},
        ... }
        >>> model = vk.MultiHead(vk.create_backbone("resnet18", weights="none"), heads).eval()
        >>> images = torch.rand(2, 3, 64, 64)
        >>> with torch.no_grad(), model.one_pass():
        ...     boxes = model.heads["objects"](list(images))
        ...     pixels, tags = model.heads["regions"](images), model.heads["tags"](images)
        >>> sorted(boxes[0]), pixels.shape, tags.shape
        (['boxes', 'labels', 'scores'], torch.Size([2, 5, 64, 64]), torch.Size([2, 7]))
    """

    def __init__(self, backbone: Backbone, heads: Mapping[str, Mapping[str, Any]]) -> None:
        super().__init__()
        if not heads:
            raise ConfigError("a model with several heads needs at least one: heads={'objects': {'name': ...}}")
        self.backbone = backbone
        self._shared = SharedPass(backbone)
        self.heads = nn.ModuleDict({name: self._head(name, options) for name, options in heads.items()})

    @contextmanager
    def one_pass(self) -> Iterator[None]:
        """Compute the maps of equal images once inside the block; see `SharedPass.once`."""
        with self._shared.once():
            yield

    def head(self, name: str) -> Model:
        """Return a head.

        Raises:
            ConfigError: there is no such head.
        """
        if name not in self.heads:
            raise ConfigError(f"the model has no head {name!r}{suggest(name, self.heads)}")
        head = self.heads[name]
        assert isinstance(head, Model)
        return head

    def single(self, name: str) -> Model:
        """Return a head as an ordinary model with a backbone of its own, and copies of all weights.

        Raises:
            ConfigError: there is no such head.
        """
        head = self.head(name)
        assert head.spec is not None  # `create_model` builds registered models only
        spec: dict[str, Any] = {key: None if key == "weights" else value for key, value in head.spec.items()}
        backbone = create_backbone(**spec.pop("backbone"))
        backbone.mean, backbone.std = self.backbone.mean, self.backbone.std
        model = create_model(backbone=backbone, **spec)
        state = self.backbone.state_dict()
        backbone.load_state_dict({key: state[key] for key in backbone.state_dict()})
        model.load_state_dict(head.state_dict(), strict=False)
        return model.train(self.training)

    def _head(self, name: str, options: Mapping[str, Any]) -> Model:
        given = {**options}
        if given.get("weights") is not None:
            raise ConfigError(f"head {name}: weights={given['weights']}: weights of a whole model are not for one head")
        try:
            view = SharedBackbone(self._shared, given.pop("out_stages", None))
            return create_model(backbone=view, **given)
        except ConfigError as error:
            raise ConfigError(f"head {name}: {error}") from error
