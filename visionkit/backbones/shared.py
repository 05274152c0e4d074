"""One backbone for several models: a single forward pass computes the maps of all."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from visionkit.backbones.base import Backbone, FrozenStages, Norm
from visionkit.errors import ConfigError
from visionkit.registry import suggest

Result = TypeVar("Result")


class SharedPass:
    """Forward pass of a backbone, and of common layers behind it, whose results several models use.

    Inside `with shared.once():` the backbone computes the maps of an input once, and every equal input gets them, also
    one with some of its images.

    Args:
        backbone: the network, which returns all stages that the models need.
    """

    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone
        self._is_open = False
        self._computed: list[tuple[Tensor, dict[str, Tensor]]] = []
        self._results: list[tuple[nn.Module, Tensor, Any]] = []

    @contextmanager
    def once(self) -> Iterator[None]:
        """Keep the maps of all inputs until the end of the block."""
        self._is_open = True
        try:
            yield
        finally:
            self._is_open = False
            self._computed.clear()
            self._results.clear()

    @contextmanager
    def without_keeping(self) -> Iterator[None]:
        """Keep no further maps until the end of this block, inside that of `once`."""
        was_open, self._is_open = self._is_open, False
        try:
            yield
        finally:
            self._is_open = was_open

    def maps(self, x: Tensor) -> dict[str, Tensor]:
        """Return the maps of normalized images [B, 3, H, W]; see `Backbone.forward`.

        If the images are some of those of an earlier input, they get the maps that were computed among these.
        """
        for known, maps in self._computed:
            rows = _rows(x, known)
            if rows == list(range(len(known))):
                return maps
            if rows is not None:
                return {name: of_all[rows] for name, of_all in maps.items()}
        maps = self.backbone(x)
        if self._is_open:
            self._computed.append((x, maps))
        return maps

    def computed_once(self, layer: nn.Module, x: Tensor, compute: Callable[[], Result]) -> Result:
        """Return `compute()`, or what it returned for the same layer and map inside this block of `once`.

        Args:
            layer: a layer that several models have in common.
            x: a map of `maps`; an equal one that is another tensor is another map.
            compute: applies the layer to the map.
        """
        for known_layer, known, result in self._results:
            if known_layer is layer and known is x:
                return result
        result = compute()
        if self._is_open:
            self._results.append((layer, x, result))
        return result


def _rows(images: Tensor, known: Tensor) -> list[int] | None:
    """Return the index among `known` [M, 3, H, W] of each of the images [B, 3, H, W]; None if one is not there."""
    if images is known:
        return list(range(len(known)))
    if images.shape[1:] != known.shape[1:] or len(images) > len(known):
        return None
    rows = []
    for place, image in enumerate(images):
        candidates = [place, *(row for row in range(len(known)) if row != place)]  # as a rule it is the same place
        row = next((row for row in candidates if torch.equal(image, known[row])), None)
        if row is None:
            return None
        rows.append(row)
    return rows


class SharedBackbone(Backbone):
    """The part of a model that several models share: a view of their common backbone, without parameters of its own.

    Weights, freezing and the BatchNorm policy are those of the common backbone.

    Args:
        shared: the forward pass of the common backbone.
        out_stages: the stages that the model gets; None for all that the common backbone returns.

    Raises:
        ConfigError: there is no stage, or one that the common backbone does not return.

    Example:
        >>> import torch
        >>> import visionkit as vk
        >>> from visionkit.backbones.shared import SharedBackbone, SharedPass
        >>> shared = SharedPass(vk.create_backbone("resnet18", weights="none").eval())
        >>> first, second = SharedBackbone(shared, ["s8", "s16"]), SharedBackbone(shared, ["s32"])
        >>> with torch.no_grad(), shared.once():
        ...     list(first(torch.zeros(1, 3, 64, 64))), list(second(torch.zeros(1, 3, 64, 64)))  # one forward pass
        (['s8', 's16'], ['s32'])
    """

    def __init__(self, shared: SharedPass, out_stages: Sequence[str] | None = None) -> None:
        nn.Module.__init__(self)
        backbone = shared.backbone
        wanted = list(backbone.stages if out_stages is None else out_stages)
        if not wanted:
            raise ConfigError("out_stages is empty: a model needs at least one stage")
        for stage in wanted:
            if stage not in backbone.stages:
                raise ConfigError(f"the common backbone returns no stage {stage!r}{suggest(stage, backbone.stages)}")
        self.shared = shared
        self.stages = {name: stage for name, stage in backbone.stages.items() if name in wanted}
        names = list(backbone.computed)
        depth = max(names.index(stage) for stage in self.stages) + 1
        self.computed = {name: backbone.computed[name] for name in names[:depth]}
        self.stage_modules = {name: [] for name in self.computed}
        self.inner_channels = {}
        self.name, self.default_head, self.native_size = backbone.name, backbone.default_head, backbone.native_size

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """See `Backbone.forward`."""
        maps = self.shared.maps(x)
        return {name: maps[name] for name in self.stages}

    @property
    def spec(self) -> dict[str, Any]:
        """See `Backbone.spec`: that of an ordinary backbone with these stages."""
        return {**self.shared.backbone.spec, "out_stages": list(self.stages)}

    @property
    def mean(self) -> tuple[float, ...]:
        """Mean of the common backbone."""
        return self.shared.backbone.mean

    @mean.setter
    def mean(self, value: tuple[float, ...]) -> None:
        self.shared.backbone.mean = value

    @property
    def std(self) -> tuple[float, ...]:
        """Standard deviation of the common backbone."""
        return self.shared.backbone.std

    @std.setter
    def std(self, value: tuple[float, ...]) -> None:
        self.shared.backbone.std = value

    @property
    def batch_norm(self) -> Norm:  # type: ignore[override]  # never set here
        """BatchNorm policy of the common backbone."""
        return self.shared.backbone.batch_norm

    @property
    def frozen_stages(self) -> int:  # type: ignore[override]  # never set here
        """Number of frozen stages of the common backbone."""
        return self.shared.backbone.frozen_stages

    @property
    def initialized_from(self) -> str:  # type: ignore[override]  # never set here
        """Source of the weights of the common backbone."""
        return self.shared.backbone.initialized_from

    @property
    def is_randomly_initialized(self) -> bool:  # type: ignore[override]  # never set here
        """Whether the common backbone is randomly initialized."""
        return self.shared.backbone.is_randomly_initialized

    def freeze(self, stages: FrozenStages) -> None:
        """Freeze stages of the common backbone; see `Backbone.freeze`."""
        self.shared.backbone.freeze(stages)

    def set_batch_norm(self, batch_norm: Norm) -> None:
        """Set the BatchNorm policy of the common backbone; see `Backbone.set_batch_norm`."""
        self.shared.backbone.set_batch_norm(batch_norm)
