"""Base class of all backbones: named stages, a forward that returns their maps, and one policy for what trains."""

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
"""BatchNorm policy: "trained" uses batch statistics and trains the affine parameters; "frozen" uses running statistics
and fixes the affine parameters; "eval" uses running statistics and trains the affine parameters."""

FrozenStages = int | Literal["all"]
"""Number of a network's first stages that are frozen."""

RANDOM = "random"
"""`Backbone.initialized_from` of a randomly initialized network."""


@dataclass(frozen=True)
class Stage:
    """One feature map of a backbone.

    Attributes:
        channels: number of channels.
        stride: pixels of the input per cell of the map.
        margin: pixels of the input, both borders together, that unpadded convolutions cut off. For an input of height
            H the map has between floor((H - margin) / stride) and ceil((H - margin) / stride) rows; how it is rounded
            depends on the family.

    Example:
        >>> import visionkit as vk
        >>> stage = vk.create_backbone("alexnet", weights="none").stages["s4"]
        >>> stage
        Stage(channels=96, stride=4, margin=7)
        >>> (227 - stage.margin) // stage.stride  # rows of the map of a 227 x 227 image
        55
    """

    channels: int
    stride: int
    margin: int = 0


class Backbone(nn.Module):
    """Classification network without its head, which returns feature maps.

    A subclass builds the modules up to the last stage of `computed` and lists them by stage in `stage_modules`.
    Freezing, the BatchNorm policy and `spec` work the same way for all.

    Args:
        name: registered name ("resnet50").
        network_stages: all stages of the full network, shallow to deep.
        out_stages: the stages that `forward` returns; None for all. Layers that only deeper stages need are not built.
        **options: further constructor arguments of the subclass, which `spec` repeats.

    Attributes:
        stages: the stages that `forward` returns, shallow to deep. Names carry the stride ("s4", "s8"). A dilated
            network (ResNet's `output_stride`) keeps the names of its usual form.
        computed: the stages that are computed: all up to the deepest of `stages`.
        stage_modules: for each stage of `computed` the dotted names of the submodules that it adds to the stages
            before it. The stem belongs to the first.
        mean, std: normalization of RGB in 0..1 that the weights were trained with. Before weights are loaded, that of
            the ImageNet weights or of the dataset that the network was published for.
        default_head: name of the classifier head that the network was published with, see
            `visionkit.models.classification`.
        native_size: height and width in pixels of the input that the classifier was published for.
        inner_channels: number of channels of each map inside the computed stages that auxiliary heads read in training.
        batch_norm: BatchNorm policy, see `Norm`.
        frozen_stages: number of the network's first stages that are frozen.
        initialized_from: "imagenet", "random" or the path of the file that the weights come from.
        is_randomly_initialized: True until weights have been loaded.

    Raises:
        ConfigError: `out_stages` is empty or names a stage that the network does not have.

    Example:
        >>> import torch
        >>> import visionkit as vk
        >>> backbone = vk.create_backbone("resnet18", weights="none").eval()
        >>> maps = backbone(torch.zeros(1, 3, 64, 64))
        >>> {stage: tuple(map_.shape) for stage, map_ in maps.items()}
        {'s4': (1, 64, 16, 16), 's8': (1, 128, 8, 8), 's16': (1, 256, 4, 4), 's32': (1, 512, 2, 2)}
        >>> backbone.stages["s16"]
        Stage(channels=256, stride=16, margin=0)
    """

    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    default_head: str = "average"
    native_size: int = 224

    def __init__(
        self, name: str, network_stages: Mapping[str, Stage], out_stages: Sequence[str] | None = None, **options: Any
    ) -> None:
        super().__init__()
        requested = _checked_stages(name, network_stages, out_stages)
        names = list(network_stages)
        depth = max(names.index(stage) for stage in requested) + 1
        self.name = name
        self.computed = {stage: network_stages[stage] for stage in names[:depth]}
        self.stages = {stage: network_stages[stage] for stage in names if stage in requested}
        self.stage_modules: dict[str, list[str]] = {}
        self.inner_channels: dict[str, int] = {}
        self.batch_norm: Norm = "trained"
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
        """Compute the feature maps and the inner maps that auxiliary heads read.

        Args:
            x: [B, 3, H, W], normalized with `mean` and `std`.

        Returns:
            What `forward` returns, and one map [B, channels, h, w] for each of `inner_channels`.
        """
        return self(x), {}

    @property
    def spec(self) -> dict[str, Any]:
        """Primitives from which `create_backbone(**spec)` builds the same structure and policy.

        It does not load weights (`weights` is "checkpoint"): the caller does. `split` is not part of it either: the
        model that splits the network does so again.
        """
        return {
            "name": self.name,
            "weights": "checkpoint",
            "batch_norm": self.batch_norm,
            "frozen_stages": self.frozen_stages,
            "out_stages": self._out_stages,
            "initialized_from": self.initialized_from,
            **self._options,
        }

    def check_policy(self, batch_norm: str, frozen_stages: FrozenStages) -> None:
        """Check a BatchNorm policy and a number of frozen stages.

        Raises:
            ConfigError: there is no such BatchNorm policy, or the network has fewer stages.
        """
        if batch_norm not in get_args(Norm):
            raise ConfigError(f"batch_norm={batch_norm!r}: use one of {', '.join(get_args(Norm))}")
        if not 0 <= self._number_of(frozen_stages) <= self._depth:
            raise ConfigError(
                f"frozen_stages={frozen_stages}: {self.name} is built with {self._depth} stages, "
                f"{', '.join(self.computed)}"
            )

    def freeze(self, stages: FrozenStages) -> None:
        """Freeze the parameters and BatchNorm statistics of the network's first `stages` stages.

        All stages of the network count, also those that `forward` does not return. The other stages train, as far as
        the BatchNorm policy allows, so a smaller number unfreezes. Frozen layers apply no dropout, and no gradients
        are computed for them.

        Raises:
            ConfigError: there are fewer stages, or the network is randomly initialized.
        """
        self.check_policy(self.batch_norm, stages)
        number = self._number_of(stages)
        if number and self.is_randomly_initialized:
            raise ConfigError(random_freeze_message(self.name, f"frozen_stages={stages}"))
        self.frozen_stages = number
        self._apply_policy()

    def set_batch_norm(self, batch_norm: Norm) -> None:
        """Set the BatchNorm policy, which stays in force after train(), eval() and load_state_dict().

        Raises:
            ConfigError: there is no such policy, or it would freeze randomly initialized weights.
        """
        self.check_policy(batch_norm, self.frozen_stages)
        if batch_norm != "trained" and self.is_randomly_initialized:
            raise ConfigError(random_freeze_message(self.name, f"batch_norm={batch_norm}"))
        self.batch_norm = batch_norm
        self._apply_policy()

    def train(self, mode: bool = True) -> "Backbone":
        """Set the mode; frozen parts, and BatchNorm layers with running statistics, stay in eval mode."""
        super().train(mode)
        eval_norms(self, self.batch_norm)
        eval_frozen_parts(self)
        return self

    def split(self, last_stage: str) -> nn.Module:
        """Remove the stages after `last_stage` and return them as one module, from that map to the deepest one.

        Raises:
            ConfigError: this network cannot be split there.
        """
        raise ConfigError(f"{self.name} cannot be split, so a head cannot use its last stages: use a ResNet")

    def published_weights(self) -> PublishedWeights | None:
        """Return where this network's ImageNet weights are published; None if there are none."""
        return None

    def full_network_keys(self) -> set[str]:
        """Return the state-dict keys that this backbone has with all its stages."""
        with torch.device("meta"):
            return set(type(self)(self.name, **self._options).state_dict())

    def translate(self, published: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return a published state dict of the whole network under this backbone's keys, without the head's entries.

        By default the keys are the same.
        """
        return dict(published)

    def _number_of(self, stages: FrozenStages) -> int:
        return self._depth if stages == "all" else stages

    def _apply_policy(self) -> None:
        self.requires_grad_(False)
        for stage in list(self.computed)[self.frozen_stages :]:
            for name in self.stage_modules[stage]:
                self.get_submodule(name).requires_grad_(True)
        if self.batch_norm == "frozen":
            for layer in norm_layers(self):
                layer.requires_grad_(False)
        self.train(self.training)


class Tail(nn.Sequential):
    """Stages that `Backbone.split` has removed from a backbone, with the backbone's BatchNorm policy."""

    def __init__(self, stages: Mapping[str, nn.Module], batch_norm: Norm) -> None:
        super().__init__()
        for name, stage in stages.items():
            self.add_module(name, stage)
        self.batch_norm: Norm = batch_norm

    def train(self, mode: bool = True) -> "Tail":
        """Set the mode; BatchNorm layers with running statistics stay in eval mode."""
        super().train(mode)
        eval_norms(self, self.batch_norm)
        return self


def norm_layers(network: nn.Module) -> Iterator[_BatchNorm]:
    """Return all BatchNorm layers of `network`, synchronized ones too."""
    return (module for module in network.modules() if isinstance(module, _BatchNorm))


def eval_norms(network: nn.Module, batch_norm: Norm) -> None:
    """Set BatchNorm layers to eval mode: the frozen ones, and all of them unless the policy is "trained"."""
    for layer in norm_layers(network):
        frozen = layer.weight is not None and not layer.weight.requires_grad
        if batch_norm != "trained" or frozen:
            layer.eval()


def eval_frozen_parts(network: nn.Module) -> None:
    """Set the modules of `network` whose parameters are all frozen to eval mode, which turns their dropout off."""
    all_frozen = not any(parameter.requires_grad for parameter in network.parameters())
    for module in network.modules():
        trains = [parameter.requires_grad for parameter in module.parameters()]
        # The network itself keeps its mode: modules that are unfrozen later take it over.
        if module is not network and (all_frozen or (trains and not any(trains))):
            module.eval()


def random_freeze_message(name: str, what: str) -> str:
    """Return the error message for a policy `what` that would freeze randomly initialized weights."""
    return (
        f"{what} would freeze the randomly initialized weights of {name}, which then never train.\n"
        "Load weights (weights=imagenet, or the path of a file), or set batch_norm=trained and frozen_stages=0."
    )


def _checked_stages(name: str, available: Mapping[str, Stage], requested: Sequence[str] | None) -> Sequence[str]:
    if requested is None:
        return list(available)
    if not requested:
        raise ConfigError(f"out_stages is empty: {name} has the stages {', '.join(available)}")
    for stage in requested:
        if stage not in available:
            raise ConfigError(f"{name} has no stage {stage!r}{suggest(stage, available)}")
    return requested


backbones: Registry[Callable[..., Backbone]] = Registry("backbone", "visionkit.backbones")
"""Each entry is called as `entry(name, out_stages=..., **options)` and returns a randomly initialized backbone."""

register_backbone = backbones.register
