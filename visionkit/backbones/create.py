"""Backbones by name, with weights and a policy for what trains."""

import logging
from typing import Any

from visionkit.backbones.contract import RANDOM, Backbone, Norm
from visionkit.backbones.registry import backbones
from visionkit.backbones.weights import fill

logger = logging.getLogger("visionkit")


def create_backbone(
    name: str,
    weights: str = "auto",
    norm: Norm = "trained",
    frozen_stages: int = 0,
    out_stages: list[str] | None = None,
    **options: Any,
) -> Backbone:
    """Build a backbone.

    Args:
        name: a name of `visionkit list backbones`, or `timm/<model>`.
        weights: `auto` (ImageNet weights if they are at hand or can be fetched, otherwise a loud warning and random
            values), `imagenet` (or an error), `none`, or the path of a state dict or a visionkit checkpoint.
        norm: BatchNorm policy: trained, frozen (statistics and affine fixed) or eval (statistics fixed).
        frozen_stages: how many of the first stages are fixed; the stem belongs to the first.
        out_stages: the stages wanted, None for all; what only deeper ones need is not built.
        **options: the family's own.

    Raises:
        RecipeError: unknown name or stage, or something would be frozen over random values.
        CheckpointError: the weights cannot be had or do not fit.
    """
    initialised_from = options.pop("initialised_from", None)
    family = f"{name.split('/')[0]}/"
    builder = backbones.get(family if family in backbones else name)
    backbone = builder(name, out_stages=out_stages, **options)
    fill(backbone, weights)
    backbone.initialised_from = initialised_from or backbone.initialised_from
    if weights == "auto" and backbone.initialised_from == RANDOM:
        _say_that_everything_trains(norm, frozen_stages)
        return backbone
    backbone.set_norm(norm)
    backbone.freeze(frozen_stages)
    return backbone


def _say_that_everything_trains(norm: Norm, frozen_stages: int) -> None:
    if norm != "trained" or frozen_stages:
        logger.warning(
            "norm=%s and frozen_stages=%d are meant for pretrained weights; over random values everything trains",
            norm,
            frozen_stages,
        )
