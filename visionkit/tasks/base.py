"""What every task shares: optimization, the loss guard, and the checkpoint that describes itself."""

import dataclasses
import logging
import math
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any, ClassVar, Protocol

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from visionkit.backbones import Backbone
from visionkit.data.datamodule import VisionData
from visionkit.data.splits import Needs
from visionkit.errors import VisionkitError
from visionkit.models.base import Model
from visionkit.registry import Registry
from visionkit.tasks.optimizers import (
    OptimizerOptions,
    ScheduleOptions,
    count_parameters,
    make_scheduler,
    optimizers,
    parameter_groups,
    scaled_lr,
)

FORMAT_VERSION = 1
PACKAGES = ("visionkit", "torch", "torchvision", "lightning", "torchmetrics", "albumentations")

logger = logging.getLogger("visionkit")

tasks: Registry[type["Task"]] = Registry("task")


class DivergedError(VisionkitError):
    """The loss is no number any more."""


@contextmanager
def explain_batch_norm_error() -> Iterator[None]:
    """Around a network in training: says what to do where a BatchNorm layer sees one value a channel.

    Raises:
        VisionkitError: so it is; an image alone has been brought down to a map of one cell.
    """
    try:
        yield
    except ValueError as error:
        if not str(error).startswith("Expected more than 1 value per channel"):
            raise
        raise VisionkitError(
            "a BatchNorm layer cannot train on a batch of one image whose map there has one cell\n"
            "set data.batch_size to 2 or more, or model.backbone.norm=frozen for pretrained weights"
        ) from error


class PreprocessOptions(Protocol):
    """A task's `preprocess` section: a dataclass with at least these."""

    mean: list[float] | None
    std: list[float] | None

    def module(self) -> nn.Module:
        """The tensor module that prepares images as the options say."""
        ...


class Task(LightningModule):
    """A network with everything that training, evaluation and prediction need to know about it.

    Args:
        model: the network; made by visionkit it knows its name and arguments (`model.spec`), and the
            checkpoint can rebuild it.
        class_names: K names in label order.
        category_ids: the data set's own ids of the classes, for result files; None numbers them from 1.
        preprocess: how images are brought to the network's input.
        optimizer: optimizer and rates.
        schedule: the rate over time.

    Attributes:
        option_types: the recipe's sections that the task takes, each a dataclass; a subclass adds `preprocess`
            and `evaluation`.
        class_colors: RGB of each class in drawings; None leaves them to the drawing.
        results: the metrics of the split that was scored last, by name; those of one class as "<figure>/<class>".
    """

    name: ClassVar[str]
    option_types: ClassVar[dict[str, type]] = {
        "optimizer": OptimizerOptions,
        "schedule": ScheduleOptions,
    }
    network: Model
    metric: Any
    evaluation_options: Any
    class_colors: list[list[int]] | None = None

    def __init__(
        self,
        model: Model,
        class_names: list[str],
        category_ids: list[int] | None,
        preprocess: PreprocessOptions | None,
        optimizer: OptimizerOptions | None,
        schedule: ScheduleOptions | None,
    ) -> None:
        super().__init__()
        if not class_names:
            raise VisionkitError("a task needs the class names: predictions without names would be a guess")
        self.network = model
        self.class_names = list(class_names)
        self.category_ids = list(category_ids or range(1, len(class_names) + 1))
        self.optimizer_options = optimizer or OptimizerOptions()
        self.schedule_options = schedule or ScheduleOptions()
        self.preprocess_options = self._with_statistics(preprocess or self.option_types["preprocess"]())
        self.preprocessing = self.preprocess_options.module()
        self.recipe: dict[str, Any] = {}
        self.results: dict[str, float] = {}

    @classmethod
    def needs(cls, recipe: Mapping[str, Any]) -> Needs | None:
        """What an image must have to be of use for the task that `recipe` describes; None takes every image."""
        return None

    @classmethod
    def data_arguments(cls, data: VisionData) -> dict[str, Any]:
        """What a task is told of the data it is made for, as arguments of its constructor."""
        return {"class_names": data.class_names, "category_ids": data.category_ids}

    @property
    def backbone(self) -> Backbone:
        """The network's backbone."""
        return self.network.backbone

    @property
    def min_score(self) -> float:
        """Score that a prediction must pass to be told at all, however low a threshold `predict` is given."""
        return 0.0

    @property
    def monitor(self) -> str:
        """Name under which the main metric is logged; higher is better."""
        raise NotImplementedError

    def set_evaluation(self, evaluation: Any) -> None:
        """Score from now on as `evaluation`, the task's own options, says; the network is not touched."""
        raise NotImplementedError

    def predictions_for_json(self) -> list[dict[str, Any]]:
        """What predictions.json says of the images scored last."""
        raise NotImplementedError

    def details(self) -> dict[str, Any]:
        """What metrics.json says of them beyond the metrics in `results`."""
        return {}

    def _with_statistics(self, options: Any) -> Any:
        """The options with mean and std spelled out: those of the backbone's values where none are given.

        They become the backbone's own, for its values learn from such images now.
        """
        mean = [float(value) for value in options.mean or self.network.mean]
        std = [float(value) for value in options.std or self.network.std]
        if isinstance(self.backbone, Backbone):
            self.backbone.mean, self.backbone.std = tuple(mean), tuple(std)
        return dataclasses.replace(options, mean=mean, std=std)

    def configure_optimizers(self) -> Any:
        """SGD or Adam over the trainable parameters with the recipe's schedule, scaled to the effective batch."""
        steps = int(self.trainer.estimated_stepping_batches)  # also sets the training loader up
        loader: Any = self.trainer.train_dataloader
        effective = (loader.batch_size or 1) * self.trainer.world_size * self.trainer.accumulate_grad_batches
        options = dataclasses.replace(self.optimizer_options, lr=scaled_lr(self.optimizer_options, effective))
        optimizer = optimizers.get(options.name)(parameter_groups(self.network, options), options)
        epochs = self.trainer.max_epochs if self.trainer.max_epochs and self.trainer.max_epochs > 0 else 1
        return [optimizer], make_scheduler(optimizer, self.schedule_options, steps, epochs, self.monitor)

    def on_fit_start(self) -> None:
        """Say what trains: a frozen network that nobody asked for is found here."""
        for part, module in self.network.named_children():
            trainable, total = count_parameters(module.parameters())
            if total:
                logger.info("%s: %s of %s parameters train", part, f"{trainable:,}", f"{total:,}")

    def total_loss(self, losses: dict[str, Tensor], image_ids: list[Any]) -> Tensor:
        """Sum of the losses.

        Raises:
            DivergedError: the sum is not finite; names the images of the batch.
        """
        loss = torch.stack(list(losses.values())).sum()
        if not math.isfinite(loss.item()):
            parts = ", ".join(f"{name} {value.item():.4g}" for name, value in losses.items())
            raise DivergedError(
                f"the loss is no longer finite at step {self.global_step}: {parts}\n"
                f"images of the batch: {image_ids}\n"
                "lower optimizer.lr, lengthen schedule.warmup_steps or set trainer.gradient_clip_val"
            )
        return loss

    def log_losses(self, split: str, losses: dict[str, Any], images: int) -> None:
        """Log the losses of a batch of `images` under the split's name."""
        named = {f"{split}/{name}": value for name, value in losses.items()}
        training = split == "train"
        # Without on_step the processes meet once, at the end of the epoch: their numbers of calls may differ.
        self.log_dict(named, batch_size=images, on_step=training, on_epoch=True, sync_dist=not training)

    def score(self, split: str) -> None:
        """Compute, log and keep the metrics of a split that has been gone through."""
        # Every process computes the same numbers from the gathered records: nothing is left to reduce.
        results = self.metric.compute()
        with torch.inference_mode(False):  # what is made inside of it could not be changed in a training run
            self.metric.reset()
        if self.trainer.sanity_checking:  # a few images and an untrained network: no result
            return
        self.results = results
        known = {name: value for name, value in results.items() if value == value}
        self.log_dict({f"{split}/{name}": value for name, value in known.items() if "/" not in name}, prog_bar=False)

    def description(self) -> dict[str, Any]:
        """Everything `load` needs to rebuild this task, as primitives."""
        return {
            "format": FORMAT_VERSION,
            "task": self.name,
            "model": self.network.spec,
            "class_names": self.class_names,
            "category_ids": self.category_ids,
            **{name: dataclasses.asdict(getattr(self, f"{name}_options")) for name in self.option_types},
            "recipe": self.recipe,
            "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        }

    @classmethod
    def from_description(cls, description: dict[str, Any], network: Model) -> "Task":
        """The task that `description` tells of, around `network`."""
        # A section that is younger than the checkpoint takes its defaults.
        options = {name: kind(**description.get(name, {})) for name, kind in cls.option_types.items()}
        task = cls(network, class_names=description["class_names"], category_ids=description["category_ids"], **options)
        task.recipe = description["recipe"]
        return task

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Write the description and the metrics so far beside the weights."""
        metrics = self.trainer.callback_metrics if self._trainer is not None else {}
        checkpoint["visionkit"] = {
            **self.description(),
            "metrics": {name: float(value) for name, value in metrics.items()},
        }
