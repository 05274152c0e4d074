"""The segmentation networks beside plain loops: smp's U-Net, FCN-8s on torchvision's VGG-16, FC-DenseNet103."""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torchvision
from torch import Tensor, nn

from tests.benchmarks.speed_table.plain_loop import plain_loop, random_images
from tests.benchmarks.speed_table.setting import (
    Setting,
    Variant,
    detached,
    inference_job,
    own_optimizer,
    training_job,
    variants,
)
from tests.benchmarks.speed_table.timing import Build, Job
from visionkit.backbones import create_backbone
from visionkit.backbones.dense_block import DenseBlock
from visionkit.data.batch import Batch
from visionkit.models import create_model
from visionkit.models.base import Model
from visionkit.pipelines import RuntimeOptions
from visionkit.tasks import Segmentation

CLASSES = 11


class Pair(NamedTuple):
    """A network here, and the name and the network of its peer."""

    ours: Callable[[], Model]
    peer: str
    theirs: Callable[[], nn.Module]


def unet() -> Model:
    """Return U-Net on timm's ResNet-34, which has the map of stride 2 that smp's U-Net uses."""
    return create_model("unet", create_backbone("timm/resnet34", weights="none"), CLASSES)


def smps_unet() -> nn.Module:
    """Return U-Net of segmentation_models.pytorch, with a last layer like ours."""
    import segmentation_models_pytorch as smp

    network = smp.Unet("resnet34", encoder_weights=None, classes=CLASSES)
    network.segmentation_head = nn.Conv2d(16, CLASSES, 1)
    return network


def fcn8s() -> Model:
    """Return FCN-8s on VGG-16."""
    return create_model("fcn8s", create_backbone("vgg16", weights="none"), CLASSES)


class PlainFCN8s(nn.Module):
    """FCN-8s (Long et al. 2014) on the layers of torchvision's VGG-16."""

    def __init__(self, head_channels: int = 4096) -> None:
        super().__init__()
        layers = torchvision.models.vgg16(weights=None).features
        self.to_s8, self.to_s16, self.to_s32 = layers[:17], layers[17:24], layers[24:]
        self.head = nn.Sequential(
            nn.Conv2d(512, head_channels, 7, padding=3),
            nn.ReLU(inplace=True),
            nn.Dropout(),
            nn.Conv2d(head_channels, head_channels, 1),
            nn.ReLU(inplace=True),
            nn.Dropout(),
        )
        self.score8, self.score16, self.score32 = (
            nn.Conv2d(channels, CLASSES, 1) for channels in (256, 512, head_channels)
        )
        self.up32, self.up16, self.up8 = (
            nn.ConvTranspose2d(CLASSES, CLASSES, 2 * factor, factor, factor // 2, bias=False) for factor in (2, 2, 8)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return logits [B, K, H, W] of images whose sides are multiples of 32."""
        s8 = self.to_s8(x)
        s16 = self.to_s16(s8)
        scores = self.score32(self.head(self.to_s32(s16)))
        scores = self.up32(scores) + self.score16(s16)
        return self.up8(self.up16(scores) + self.score8(s8))


def fc_densenet103() -> Model:
    """Return FC-DenseNet103."""
    return create_model("fc_densenet", create_backbone("fc_densenet103", weights="none"), CLASSES)


def concatenating(network: nn.Module) -> nn.Module:
    """Return a network whose dense blocks concatenate all maps for every layer, as in a plain implementation."""
    for block in network.modules():
        if isinstance(block, DenseBlock):
            block.forward = block.plain  # type: ignore[method-assign]
    return network


SEGMENTERS = {
    "unet_resnet34": Pair(unet, "segmentation_models.pytorch", smps_unet),
    "fcn8s_vgg16": Pair(fcn8s, "plain loop", PlainFCN8s),
    "fc_densenet103": Pair(fc_densenet103, "concatenating loop", lambda: concatenating(fc_densenet103())),
}


def contenders(name: str, setting: Setting) -> dict[str, Build]:
    """Return the contenders of a segmentation network."""
    pair, side = SEGMENTERS[name], setting.sizes.segmenter
    images = random_images(setting, side)
    shape = (setting.batch, side, side)
    truth = torch.randint(0, CLASSES, shape, generator=torch.Generator().manual_seed(0)).to(setting.device)

    def plain(variant: Variant) -> Job:
        torch.manual_seed(0)
        return plain_loop(setting, variant, pair.theirs(), images, truth, torch.argmax)

    own = {"visionkit": lambda: own_step(pair.ours, setting, images, truth)}
    if setting.on_gpu:
        own["visionkit, compiled"] = lambda: own_step(pair.ours, setting, images, truth, compile=True)
    return {**own, **variants(setting, pair.peer, plain)}


def own_step(build: Callable[[], Model], setting: Setting, images: Tensor, truth: Tensor, **runtime: bool) -> Job:
    """Return a step of the task."""
    torch.manual_seed(0)
    network, options = build(), RuntimeOptions(**runtime)
    task = detached(Segmentation(network, [f"class {label}" for label in range(CLASSES)], runtime=options))
    task.to(setting.device)
    options.start_training(network)
    if setting.job == "inference":
        task.eval()
        return inference_job(setting, lambda: task(list(images)))
    masks = [{"semantic": mask.byte(), "image_id": number} for number, mask in enumerate(truth)]
    batch = Batch(list(images), masks)
    return training_job(setting, lambda: task.training_step(batch, 0), own_optimizer(task.train()))
