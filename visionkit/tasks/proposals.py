"""Regions for the networks that find none by themselves: from the data, or computed for images never seen."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from visionkit.data.proposals.source import ProposalOptions, SearchedProposals
from visionkit.models.base import DetectionModel
from visionkit.structures import Prediction


def proposals_for(images: Sequence[Tensor], given: Sequence[Tensor | None], recipe: Mapping[str, Any]) -> list[Tensor]:
    """Proposals in the pixels of the images.

    Args:
        images: uint8 [3, H, W] each, RGB, as stored.
        given: float32 [P, 4] in the pixels of each image; None searches it, as `data.proposals` of the recipe says.
        recipe: that the task was made from.

    Returns:
        Per image float32 [P, 4], on the device of the images.
    """
    options = dict((recipe.get("data") or {}).get("proposals") or {})
    search = SearchedProposals(ProposalOptions(**{**options, "folder": "", "file": None}))
    found = []
    for image, known in zip(images, given, strict=True):
        if known is None:
            known = torch.from_numpy(search(image.permute(1, 2, 0).cpu().numpy()))
        found.append(known.to(image.device))
    return found


def predict(network: DetectionModel, images: list[Tensor], proposals: list[Tensor] | None) -> list[Prediction]:
    """What a detection network finds in prepared images; with proposals where it takes them."""
    found: list[Prediction] = network(images) if proposals is None else network(images, proposals=proposals)
    return found
