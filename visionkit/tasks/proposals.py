"""Regions for the networks that find none by themselves: from the data, or computed for pictures never seen."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from visionkit.data.preprocess import Prediction
from visionkit.data.proposals.source import ProposalOptions, SearchedProposals


def takes_proposals(network: nn.Module) -> bool:
    """Whether a detection network is to be called as `network(pictures, proposals=...)` in evaluation."""
    return bool(getattr(network, "takes_proposals", False))


def proposals_for(
    pictures: Sequence[Tensor], given: Sequence[Tensor | None], recipe: Mapping[str, Any]
) -> list[Tensor]:
    """Proposals in the pixels of the pictures.

    Args:
        pictures: uint8 [3, H, W] each, RGB, as stored.
        given: float32 [P, 4] in the pixels of each picture; None searches it, as `data.proposals` of the recipe says.
        recipe: that the task was made from.

    Returns:
        Per picture float32 [P, 4], on the device of the pictures.
    """
    options = dict((recipe.get("data") or {}).get("proposals") or {})
    search = SearchedProposals(ProposalOptions(**{**options, "folder": "", "file": None}))
    found = []
    for picture, known in zip(pictures, given, strict=True):
        if known is None:
            known = torch.from_numpy(search(picture.permute(1, 2, 0).cpu().numpy()))
        found.append(known.to(picture.device))
    return found


def predict(network: nn.Module, pictures: list[Tensor], proposals: list[Tensor] | None) -> list[Prediction]:
    """What a detection network finds in prepared pictures; with proposals where it takes them."""
    found: list[Prediction] = network(pictures) if proposals is None else network(pictures, proposals=proposals)
    return found
