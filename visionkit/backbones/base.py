"""What every backbone promises: named stages, a forward that returns them, and one policy for what trains."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from visionkit.backbones.published_weights import PublishedWeights
from visionkit.errors import ConfigError
from visionkit.registry import Registry, suggest

Norm = Literal["trained", "frozen", "eval"]
"""BatchNorm policy. "trained": batch statistics and affine train. "frozen": running statistics, affine fixed.
"eval": running statistics, affine trains."""

FrozenStages = int | Literal["all"]
"""How many of a network's first stages are fixed."""

RANDOM = "random"
"""`Backbone.initialized_from` of a network that no weights were loaded into."""


@dataclass(frozen=True)
class Stage:
    """One feature map of a backbone.

    Attributes:
        channels: depth of the map.
        stride: pixels of the input per cell of the map.
        margin: pixels of the input, both borders together, that have no cell because convolutions are not padded.
            For an input of height H the map has between floor((H - margin) / stride) and ceil((H - margin) / stride)
            rows: which of the two is the family's own rounding.
    """

    channels: int
    stride: int
    margin: int = 0


class Backbone(nn.Module):
    """A classification network without its head, as a source of feature maps.

    Subclasses build the modules up to `computed`'s last stage and say in `stage_modules` which belong to
    which stage; freezing, the BatchNorm policy and the description for checkpoints are the same for all.

    Args:
        name: the registered name ("resnet50").
        network_stages: every stage the whole network has, shallow to deep.
        out_stages: the stages `forward` returns, or None for all. What only deeper stages need is not built.
        **options: further constructor arguments of the subclass, repeated in `spec`.

    Attributes:
        stages: what `forward` returns, shallow to deep; names carry the stride ("s4", "s8"), that of the usual form
            where a network can be told not to halve its maps (ResNet's `output_stride`).
        computed: the stages that are run, a superset of `stages`: all up to the deepest one asked.
        stage_modules: for each stage of `computed` the dotted names of the submodules it needs beyond those
            of the stages before it. The stem belongs to the first.
        mean, std: normalization of RGB in 0..1 that the network's values were trained with: that of its ImageNet
            weights, or of the data it was published for, until a file of values or a task brings its own.
        default_head: name of the classifier that the network was published with, see `visionkit.models.classification`.
        native_size: height and width in pixels of the input that the classifier was published for.
        inner_channels: depth of each map inside the computed stages that auxiliary heads look at in training.
        norm: BatchNorm policy, see `Norm`.
        frozen_stages: how many of the network's first stages are fixed.
        initialized_from: "imagenet", "random" or the path of the file the values came from.
        holds_random_values: True until weights have been loaded.

    Raises:
        ConfigError: `out_stages` is empty or names a stage that the network does not have.
    """

    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    default_head: str = "average"
    native_size: int = 224

    def __init__(
        self, name: str, network_stages: Mapping[str, Stage], out_stages: Sequence[str] | None = None, **options: Any
    ) -> None:
        super().__init__()
        asked = _checked_stages(name, network_stages, out_stages)
        names = list(network_stages)
        depth = max(names.index(stage) for stage in asked) + 1
        self.name = name
        self.computed = {stage: network_stages[stage] for stage in names[:depth]}
        self.stages = {stage: network_stages[stage] for stage in names if stage in asked}
        self.stage_modules: dict[str, list[str]] = {}
        self.inner_channels: dict[str, int] = {}
        self.norm: Norm = "trained"
        self.frozen_stages = 0
        self.initialized_from = RANDOM
        self.is_randomly_initialized = True
        self._out_stages = None if out_stages is None else list(self.stages)
        self._options = options
        self._depth = depth

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Compute the feature maps.

        Args:
            x: [B, 3, H, W], normalized with `mean` and `std`.

        Returns:
            One map [B, channels, about H / stride, about W / stride] for each of `stages`, in their order.
        """
        raise NotImplementedError

    def forward_with_inner_maps(self, x: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Compute the feature maps and those that auxiliary heads look at.

        Args:
            x: [B, 3, H, W], normalized with `mean` and `std`.

        Returns:
            What `forward` returns, and one map [B, channels, h, w] for each of `inner_channels`.
        """
        return self(x), {}

    @property
    def spec(self) -> dict[str, Any]:
        """Primitives from which `create_backbone(**spec)` builds this structure and policy again.

        Its values are not loaded then (`weights` is "checkpoint"): the caller does that. A `split` is not part
        of it either: whoever split the network does so again.
        """
        return {
            "name": self.name,
            "weights": "checkpoint",
            "norm": self.norm,
            "frozen_stages": self.frozen_stages,
            "out_stages": self._out_stages,
            "initialized_from": self.initialized_from,
            **self._options,
        }

    def check_policy(self, norm: str, frozen_stages: FrozenStages) -> None:
        """Refuse a policy that no values could make sense of.

        Raises:
            ConfigError: no such BatchNorm policy, or a number of stages that the network does not have.
        """
        if norm not in get_args(Norm):
            raise ConfigError(f"norm={norm!r}: use one of {', '.join(get_args(Norm))}")
        if not 0 <= self._number_of(frozen_stages) <= self._depth:
            raise ConfigError(
                f"frozen_stages={frozen_stages}: {self.name} is built with {self._depth} stages, "
                f"{', '.join(self.computed)}"
            )

    def freeze(self, stages: FrozenStages) -> None:
        """Fix parameters and BatchNorm statistics of all that the network's first `stages` stages need.

        Counted on the network's own stages, whether or not `forward` returns them. The rest trains, as far as
        the BatchNorm policy allows, so a smaller number unfreezes. What is fixed drops nothing in training, and no
        gradients are computed for it.

        Raises:
            ConfigError: more stages than there are, or the values are random.
        """
        self.check_policy(self.norm, stages)
        number = self._number_of(stages)
        if number and self.is_randomly_initialized:
            raise ConfigError(refusal(self.name, f"frozen_stages={stages}"))
        self.frozen_stages = number
        self._apply_policy()

    def set_norm(self, norm: Norm) -> None:
        """Set the BatchNorm policy; it outlives train(), eval() and load_state_dict().

        Raises:
            ConfigError: no such policy, or it would fix random values.
        """
        self.check_policy(norm, self.frozen_stages)
        if norm != "trained" and self.is_randomly_initialized:
            raise ConfigError(refusal(self.name, f"norm={norm}"))
        self.norm = norm
        self._apply_policy()

    def train(self, mode: bool = True) -> "Backbone":
        """Set the mode; fixed parts, and BatchNorm layers that the policy keeps still, stay in eval mode."""
        super().train(mode)
        eval_norms(self, self.norm)
        eval_frozen_parts(self)
        return self

    def split(self, last_stage: str) -> nn.Module:
        """Take away all after `last_stage` and return it as one module from that map to the deepest one.

        Raises:
            ConfigError: this network cannot be split there.
        """
        raise ConfigError(f"{self.name} cannot lend its last stages to a head: use a ResNet, or another head")

    def published_weights(self) -> PublishedWeights | None:
        """Where this network's ImageNet weights are to be had; None when nobody publishes any."""
        return None

    def full_network_keys(self) -> set[str]:
        """State-dict keys that this backbone would have with all its stages."""
        with torch.device("meta"):
            return set(type(self)(self.name, **self._options).state_dict())

    def translate(self, published: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Rename the keys of a published state dict of the whole network to this backbone's, without its head.

        A network that nobody publishes has no names but its own.
        """
        return dict(published)

    def _number_of(self, stages: FrozenStages) -> int:
        return self._depth if stages == "all" else stages

    def _apply_policy(self) -> None:
        self.requires_grad_(False)
        for stage in list(self.computed)[self.frozen_stages :]:
            for name in self.stage_modules[stage]:
                self.get_submodule(name).requires_grad_(True)
        if self.norm == "frozen":
            for layer in norm_layers(self):
                layer.requires_grad_(False)
        self.train(self.training)


class Tail(nn.Sequential):
    """Stages taken off a backbone by `Backbone.split`; keeps the backbone's BatchNorm policy."""

    def __init__(self, stages: Mapping[str, nn.Module], norm: Norm) -> None:
        super().__init__()
        for name, stage in stages.items():
            self.add_module(name, stage)
        self.norm: Norm = norm

    def train(self, mode: bool = True) -> "Tail":
        """Set the mode; BatchNorm layers that the policy keeps still stay in eval mode."""
        super().train(mode)
        eval_norms(self, self.norm)
        return self


def norm_layers(network: nn.Module) -> Iterator[_BatchNorm]:
    """All BatchNorm layers of `network`, also those that were converted to synchronised ones."""
    return (module for module in network.modules() if isinstance(module, _BatchNorm))


def eval_norms(network: nn.Module, norm: Norm) -> None:
    """Put BatchNorm layers into eval mode that must not gather statistics: all of them, or the fixed ones."""
    for layer in norm_layers(network):
        fixed = layer.weight is not None and not layer.weight.requires_grad
        if norm != "trained" or fixed:
            layer.eval()


def eval_frozen_parts(network: nn.Module) -> None:
    """Put the parts of `network` into eval mode whose parameters are all fixed: their dropout would blur features."""
    nothing_learns = not any(parameter.requires_grad for parameter in network.parameters())
    for part in network.modules():
        learns = [parameter.requires_grad for parameter in part.parameters()]
        # not the network itself: its mode says whether what is unfrozen later trains
        if part is not network and (nothing_learns or (learns and not any(learns))):
            part.eval()


def refusal(name: str, what: str) -> str:
    """Message for a policy that would fix random values."""
    return (
        f"{what} would fix the random values of {name}, which then never learn.\n"
        "Give it weights (weights=imagenet, or the path of a file), or set norm=trained and frozen_stages=0."
    )


def _checked_stages(name: str, known: Mapping[str, Stage], asked: Sequence[str] | None) -> Sequence[str]:
    if asked is None:
        return list(known)
    if not asked:
        raise ConfigError(f"out_stages is empty: {name} has the stages {', '.join(known)}")
    for stage in asked:
        if stage not in known:
            raise ConfigError(f"{name} has no stage {stage!r}{suggest(stage, known)}")
    return asked


backbones: Registry[Callable[..., Backbone]] = Registry("backbone", "visionkit.backbones")
"""Each entry is called as `entry(name, out_stages=..., **options)` and returns a randomly initialized backbone."""

register_backbone = backbones.register
