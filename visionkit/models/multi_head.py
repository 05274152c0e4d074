"""Several models with one backbone, which answer for boxes, pixels and labels in one forward pass."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from visionkit.backbones.base import Backbone
from visionkit.backbones.create import create_backbone
from visionkit.backbones.shared import SharedBackbone, SharedPass
from visionkit.errors import CheckpointError, ConfigError
from visionkit.models.base import Model
from visionkit.models.create import create_model, models
from visionkit.models.fpn import FPN, share_pyramids
from visionkit.models.load_model import load_strict, read_model_weights
from visionkit.option_checks import check_names
from visionkit.registry import suggest
from visionkit.text import format_list

OF_BACKBONE = ("backbone", "batch_norm", "frozen_stages", "in_channels")
"""Options of the backbone, which a head cannot have by itself."""

RESERVED = {*dir(nn.ModuleDict()), *dir(nn.ParameterDict())}
"""Names that PyTorch's containers of modules and parameters, which have an entry for each head, cannot hold."""


@models.register("multi")
class MultiHead(Model):
    """Several models with one backbone.

    Each head is a model of `create_model` whose backbone is a view of the common one. Inside `with model.one_pass():`
    the heads that get equal images share the forward pass of the backbone.

    Args:
        backbone: the common backbone; it returns the stages of all heads.
        num_classes: number of classes of all heads together.
        heads: for each head `name`, `num_classes` and options of the model (`create_model`); `out_stages`, the stages
            that it gets, by default all; and `weights`, a checkpoint of the same model, or of a model with a head of
            the same name, whose layers after the backbone the head starts from.
        share_pyramid: whether the feature pyramids of the heads have common layers (Kirillov et al. 2019), those of the
            head with the most levels. A level is then computed once for the heads that get equal images.

    Attributes:
        heads: the models by the name of the head. Their weights are those of the layers after the backbone.

    Raises:
        ConfigError: there is no head, a head has a name that cannot be part of a file name, or that PyTorch does not
            allow; a head cannot be built on this backbone; the numbers of classes differ; or `share_pyramid` is set and
            the pyramids cannot be shared.
        CheckpointError: a checkpoint in `weights` is missing, or does not fit.

    Example:
        >>> import torch
        >>> import visionkit as vk
        >>> heads = {
        ...     "objects": {"name": "retinanet", "num_classes": 3, "out_stages": ["s8", "s16", "s32"]},
        ...     "regions": {"name": "unet", "num_classes": 5},
        ...     "tags": {"name": "classifier", "num_classes": 7, "multi_label": True},
        ... }
        >>> backbone = vk.create_backbone("resnet18", weights="none")
        >>> model = vk.MultiHead(backbone, num_classes=15, heads=heads).eval()
        >>> images = torch.rand(2, 3, 64, 64)
        >>> with torch.no_grad(), model.one_pass():
        ...     boxes = model.heads["objects"](list(images))
        ...     pixels, tags = model.heads["regions"](images), model.heads["tags"](images)
        >>> sorted(boxes[0]), pixels.shape, tags.shape
        (['boxes', 'labels', 'scores'], torch.Size([2, 5, 64, 64]), torch.Size([2, 7]))
    """

    task: ClassVar[str] = "multi"
    can_be_head: ClassVar[bool] = False

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        *,
        heads: Mapping[str, Mapping[str, Any]],
        share_pyramid: bool = False,
    ) -> None:
        super().__init__()
        if not heads:
            raise ConfigError("a model with several heads needs at least one: heads={'objects': {'name': ...}}")
        _check_head_names(heads)
        self.backbone, self.num_classes = backbone, num_classes
        self._shared = SharedPass(backbone)
        self.heads = nn.ModuleDict(self._made(heads))
        classes = {name: self.head(name).num_classes for name in self.heads}
        if sum(classes.values()) != num_classes:
            raise ConfigError(f"num_classes={num_classes} must be the sum of the classes of the heads, {classes}")
        self.share_pyramid = share_pyramid
        if share_pyramid:
            share_pyramids(self._pyramids(), self._shared)

    @property
    def spec(self) -> dict[str, Any]:
        """See `Model.spec`. Heads have no `weights`, which they only start from."""
        heads = {}
        for name in self.heads:
            head = self.head(name)
            own = {key: value for key, value in (head.spec or {}).items() if key not in ("backbone", "weights")}
            heads[name] = {**own, "out_stages": list(head.backbone.stages)}
        return {
            "name": "multi",
            "num_classes": self.num_classes,
            "heads": heads,
            "share_pyramid": self.share_pyramid,
            "backbone": self.backbone.spec,
        }

    def shared_parameters(self) -> list[nn.Parameter]:
        """Return the trainable parameters that several heads use: those of the backbone and of a shared pyramid."""
        heads = Counter(id(parameter) for head in self.heads.values() for parameter in head.parameters())
        common = {*map(id, self.backbone.parameters()), *(key for key, count in heads.items() if count > 1)}
        return [parameter for parameter in self.parameters() if parameter.requires_grad and id(parameter) in common]

    @contextmanager
    def one_pass(self) -> Iterator[None]:
        """Compute the maps of equal images once inside the block; see `SharedPass.once`."""
        with self._shared.once():
            yield

    @contextmanager
    def without_keeping(self) -> Iterator[None]:
        """Keep no further maps inside this block of one in `one_pass`; see `SharedPass.without_keeping`."""
        with self._shared.without_keeping():
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

    def _pyramids(self) -> dict[str, FPN]:
        """Return the feature pyramid of each head that has one."""
        modules = ((name, module) for name, head in self.heads.items() for module in head.modules())
        return {name: module for name, module in modules if isinstance(module, FPN)}

    def _made(self, heads: Mapping[str, Mapping[str, Any]]) -> dict[str, Model]:
        """Return new heads. Each is initialized with the random numbers that it would get alone on this backbone."""
        state, made = torch.get_rng_state(), {}
        for name, options in heads.items():
            torch.set_rng_state(state)
            made[name] = self._head(name, options)
        return made

    def _head(self, name: str, options: Mapping[str, Any]) -> Model:
        given = {**options}
        weights = given.pop("weights", None)
        try:
            _check_head(given)
            view = SharedBackbone(self._shared, given.pop("out_stages", None))
            head = create_model(backbone=view, **given)
        except ConfigError as error:
            raise ConfigError(f"head {name}: {error}") from error
        if weights is not None:
            _start_from(head, name, weights)
        return head


def _check_head_names(names: Iterable[str]) -> None:
    """Raise ConfigError if a name is one that cannot be part of a file name, or that PyTorch does not allow."""
    check_names("head", names)
    for name in names:
        if name in RESERVED:
            raise ConfigError(f"{name!r} cannot be the name of a head, since PyTorch uses it: choose {name}_head")


def _check_head(options: Mapping[str, Any]) -> None:
    """Raise ConfigError if the model of a head cannot share a backbone, or has options of one."""
    if not models.get(name := str(options.get("name"))).can_be_head:
        raise ConfigError(f"{name} cannot be a head, since it does not use its backbone as other models do")
    for option in OF_BACKBONE:
        if option in options:
            raise ConfigError(f"{option} is for the backbone, which all heads share: set it in model.backbone")


def _start_from(head: Model, name: str, path: str) -> None:
    """Load the layers after the backbone from a checkpoint of the same model, or of one with a head of this name.

    Raises:
        ConfigError: `path` is no file, such as the name of published weights.
        CheckpointError: the checkpoint has no such head, or does not fit.
    """
    if not Path(path).expanduser().is_file():
        raise ConfigError(f"head {name}: weights={path}: there is no such file; a head starts from a checkpoint")
    state = read_model_weights(path).state
    heads = {key.split(".")[1] for key in state if key.startswith("heads.")}
    if heads and name not in heads:
        raise CheckpointError(f"{path} has no head {name!r}, only {format_list(sorted(heads))}")
    prefix = f"heads.{name}." if heads else ""
    own = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    load_strict(head, {key: value for key, value in own.items() if not key.startswith("backbone.")}, str(path))
