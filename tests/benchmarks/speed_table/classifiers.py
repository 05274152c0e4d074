"""The classifiers beside torchvision's in a plain loop."""

import torch
import torchvision

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
from visionkit.data.batch import Batch
from visionkit.models import create_model
from visionkit.pipelines import RuntimeOptions
from visionkit.preprocessing.classification import ClassificationPreprocessOptions
from visionkit.tasks import Classification

CLASSES = 1000


def contenders(name: str, setting: Setting) -> dict[str, Build]:
    """Return the contenders of a classifier."""
    images = random_images(setting, setting.sizes.classifier)
    labels = [number % CLASSES for number in range(setting.batch)]

    def plain(variant: Variant) -> Job:
        torch.manual_seed(0)
        network = torchvision.models.get_model(name, weights=None)
        truth = torch.tensor(labels, device=setting.device)
        return plain_loop(setting, variant, network, images, truth, torch.softmax)

    own = {"visionkit": lambda: own_step(name, setting, images, labels)}
    if setting.on_gpu:
        own["visionkit, compiled"] = lambda: own_step(name, setting, images, labels, compile=True)
    return {**own, **variants(setting, "plain loop", plain)}


def own_step(name: str, setting: Setting, images: torch.Tensor, labels: list[int], **runtime: bool) -> Job:
    """Return a step of the task."""
    torch.manual_seed(0)
    network = create_model("classifier", create_backbone(name, weights="none"), CLASSES)
    side, options = setting.sizes.classifier, RuntimeOptions(**runtime)
    task = Classification(
        network,
        [f"class {label}" for label in range(CLASSES)],
        preprocess=ClassificationPreprocessOptions(side, side),
        runtime=options,
    )
    task = detached(task).to(setting.device)
    options.start_training(network)
    if setting.job == "inference":
        task.eval()
        return inference_job(setting, lambda: task(list(images)))
    batch = Batch(list(images), [{"label": label, "image_id": number} for number, label in enumerate(labels)])
    return training_job(setting, lambda: task.training_step(batch, 0), own_optimizer(task.train()))
