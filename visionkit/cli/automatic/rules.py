"""The rules by which `visionkit fit CARD` makes a recipe. The numbers were measured, see docs/results.md.

Each rule is a function of the facts of the card and the machine that yields settings with their reasons.
"""

import math
from collections.abc import Iterator

import numpy as np
import torch

from visionkit.cli.automatic.machine import RANDOM_BACKBONE, Machine
from visionkit.cli.automatic.plan import Plan, Setting
from visionkit.data.stats.card_facts import CardFacts
from visionkit.ops.anchor_clusters import cluster_shapes

Settings = Iterator[Setting]

TRAINING_SHARE = 0.8
"""Share of the given time that is training; the rest is start-up and validation."""

FEW_IMAGES = 1000
"""Number of images below which pretrained stages are frozen: few images would make general features worse."""


def make_plan(facts: CardFacts, machine: Machine, minutes: float | None, model: str | None = None) -> Plan:
    """Return the recipe for a card.

    Args:
        facts: facts of the card.
        machine: what the machine can do.
        minutes: time for training; None without a limit.
        model: name of the model that is asked for; None chooses one.

    Example:
        >>> import numpy as np
        >>> from visionkit.cli.automatic.machine import Machine
        >>> from visionkit.cli.automatic.rules import make_plan
        >>> from visionkit.data.stats.card_facts import CardFacts
        >>> facts = CardFacts("segmentation", 90, 30, ["cell", "membrane"], np.array([80, 10]), (512, 512))
        >>> make_plan(facts, Machine(0.0, False, "resnet18"), minutes=None).recipe
        'unet_efficientnet_lite0'
    """
    return PLANS[facts.task](facts, machine, minutes, model)


def _views(machine: Machine, minutes: float | None, megapixels: float, cost: float) -> float:
    """Return the number of training images for which the time suffices.

    Args:
        machine: the machine, with its speed.
        minutes: time for training; None is infinite.
        megapixels: size of the network's input.
        cost: time of the whole network as a multiple of that of its backbone.
    """
    if minutes is None:
        return math.inf
    return 60 * minutes * TRAINING_SHARE * machine.speed / (megapixels * cost)
