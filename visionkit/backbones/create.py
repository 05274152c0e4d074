"""Create a backbone by name, with weights and a policy for what trains."""

import inspect
import logging
from typing import Any

from visionkit.backbones.base import Backbone, FrozenStages, Norm, backbones
from visionkit.backbones.load_backbone import load_weights
from visionkit.backbones.published_weights import UnavailableError
from visionkit.errors import ConfigError
from visionkit.option_checks import check_numbers

logger = logging.getLogger("visionkit")


def create_backbone(
    name: str,
    weights: str = "auto",
    batch_norm: Norm = "trained",
    frozen_stages: FrozenStages = 0,
    out_stages: list[str] | None = None,
    **options: Any,
) -> Backbone:
    """Create a backbone.

    Args:
        name: a name of `visionkit list backbones`, or `timm/<model>`.
        weights: where the weights come from.
            "auto": ImageNet weights if they are on disk or can be downloaded. Otherwise a warning is logged, and the
            network is randomly initialized and trains completely.
            "imagenet": the same, with an error instead of the warning.
            "none": randomly initialized.
            "checkpoint": the caller loads the weights afterwards.
            Anything else is the path of a published state dict of this network, or of a visionkit checkpoint of any
            task.
        batch_norm: BatchNorm policy: "trained", "frozen" (fixed statistics and affine parameters) or "eval" (fixed
            statistics).
        frozen_stages: number of the first stages that are frozen, or "all". The stem belongs to the first.
        out_stages: the stages that `forward` returns, None for all. Layers that only deeper stages need are not built.
        **options: options of the backbone's family.

    Returns:
        The backbone in training mode. Its `spec` records the arguments that are in force.

    Raises:
        ConfigError: unknown name, stage, option or policy, or randomly initialized weights would be frozen.
        CheckpointError: the weights are not available or do not fit.

    Example:
        >>> import visionkit as vk
        >>> backbone = vk.create_backbone("resnet18", weights="none", out_stages=["s8", "s32"])
        >>> {name: (stage.channels, stage.stride) for name, stage in backbone.stages.items()}
        {'s8': (128, 8), 's32': (512, 32)}
    """
    recorded_source = options.pop("initialized_from", None)
    backbone = _build(name, out_stages, options)
    backbone.check_policy(batch_norm, frozen_stages)
    try:
        load_weights(backbone, weights)
    except UnavailableError as reason:
        if weights != "auto":
            raise
        _warn_randomly_initialized(name, batch_norm, frozen_stages, reason)
        return backbone
    if weights == "checkpoint" and recorded_source is not None:
        backbone.initialized_from = recorded_source
    backbone.set_batch_norm(batch_norm)
    backbone.freeze(frozen_stages)
    return backbone


def list_backbones() -> list[str]:
    """Return the names that `create_backbone` takes, sorted, with those of installed plugins but without timm's.

    Example:
        >>> import visionkit as vk
        >>> "resnet50" in vk.list_backbones()
        True
    """
    return [name for name in backbones if not name.endswith("/")]


def _build(name: str, out_stages: list[str] | None, options: dict[str, Any]) -> Backbone:
    family = f"{name.partition('/')[0]}/"
    builder = backbones.get(family if "/" in name and family in backbones else name)
    try:
        inspect.signature(builder).bind(name, out_stages=out_stages, **options)
    except TypeError as error:
        raise ConfigError(f"backbone {name}: {error}") from error
    check_numbers(0, **options)
    return builder(name, out_stages=out_stages, **options)


def _warn_randomly_initialized(
    name: str, batch_norm: Norm, frozen_stages: FrozenStages, reason: UnavailableError
) -> None:
    policy = (
        f", despite batch_norm={batch_norm} and frozen_stages={frozen_stages}"
        if batch_norm != "trained" or frozen_stages
        else ""
    )
    logger.warning(
        "NO PRETRAINED WEIGHTS: %s is randomly initialized and learns far more slowly. All of it trains%s.\n%s",
        name,
        policy,
        reason,
    )
