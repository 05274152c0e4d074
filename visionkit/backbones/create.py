"""Backbones by name, with weights and a policy for what trains."""

import inspect
import logging
from typing import Any

from visionkit.backbones.base import Backbone, FrozenStages, Norm, backbones
from visionkit.backbones.load_backbone import load_weights
from visionkit.backbones.published_weights import UnavailableError
from visionkit.errors import ConfigError

logger = logging.getLogger("visionkit")


def create_backbone(
    name: str,
    weights: str = "auto",
    norm: Norm = "trained",
    frozen_stages: FrozenStages = 0,
    out_stages: list[str] | None = None,
    **options: Any,
) -> Backbone:
    """Build a backbone.

    Args:
        name: a name of `visionkit list backbones`, or `timm/<model>`.
        weights: `auto` (ImageNet weights if they are at hand or can be fetched, otherwise a loud warning and random
            values, all of which train), `imagenet` (or an error), `none`, or the path of a published state dict of
            this network or of a visionkit checkpoint of any task. `checkpoint` leaves the values to the caller,
            who is about to load them.
        norm: BatchNorm policy: trained, frozen (statistics and affine fixed) or eval (statistics fixed).
        frozen_stages: how many of the first stages are fixed, or `all`; the stem belongs to the first.
        out_stages: the stages wanted, None for all; what only deeper ones need is not built.
        **options: the family's own.

    Returns:
        The backbone in training mode; its `spec` says what came of the arguments.

    Raises:
        ConfigError: unknown name, stage, option or policy, or something would be frozen over random values.
        CheckpointError: the weights cannot be had or do not fit.
    """
    recorded_source = options.pop("initialized_from", None)
    backbone = _build(name, out_stages, options)
    backbone.check_policy(norm, frozen_stages)
    try:
        load_weights(backbone, weights)
    except UnavailableError as reason:
        if weights != "auto":
            raise
        _warn_randomly_initialized(name, norm, frozen_stages, reason)
        return backbone
    if weights == "checkpoint" and recorded_source is not None:
        backbone.initialized_from = recorded_source
    backbone.set_norm(norm)
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
    return builder(name, out_stages=out_stages, **options)


def _warn_randomly_initialized(name: str, norm: Norm, frozen_stages: FrozenStages, reason: UnavailableError) -> None:
    dropped = (
        f"; norm={norm} and frozen_stages={frozen_stages} are given up" if norm != "trained" or frozen_stages else ""
    )
    logger.warning(
        "NO PRETRAINED WEIGHTS: %s starts from random values and learns far more slowly. Everything trains%s.\n%s",
        name,
        dropped,
        reason,
    )
