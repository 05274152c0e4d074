"""The plain loop that classification and segmentation are compared with."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.benchmarks.speed_table.setting import Setting, Variant, inference_job, peers_optimizer, training_job
from tests.benchmarks.speed_table.timing import Job

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def random_images(setting: Setting, side: int) -> Tensor:
    """Return uint8 images [B, 3, side, side]."""
    generator = torch.Generator().manual_seed(0)
    shape = (setting.batch, 3, side, side)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator).to(setting.device)


def plain_loop(
    setting: Setting,
    variant: Variant,
    network: nn.Module,
    images: Tensor,
    truth: Tensor,
    predict: Callable[..., Tensor],
) -> Job:
    """Return a step of a plain loop: normalize, network, and loss or prediction.

    Args:
        setting: setting of the row.
        variant: how the loop runs.
        network: the network.
        images: uint8 [B, 3, H, W] on the device.
        truth: labels on the device.
        predict: function of logits and `dim` that inference ends with.
    """
    network = network.to(setting.device, memory_format=variant.layout)
    if variant.is_compiled:
        network.compile()
    mean, std = (torch.tensor(values, device=setting.device).view(3, 1, 1) for values in (MEAN, STD))

    def logits() -> Tensor:
        return network(((images.float() / 255 - mean) / std).contiguous(memory_format=variant.layout))

    if setting.job == "inference":
        network.eval()
        return inference_job(setting, lambda: predict(logits(), dim=1))
    optimizer = peers_optimizer(network.train().parameters(), variant.fused)
    return training_job(setting, lambda: functional.cross_entropy(logits(), truth), optimizer)
