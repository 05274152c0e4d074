"""Base class of tasks: optimization, check of the loss, logging, and checkpoints that contain their own description."""

import dataclasses
import logging
import math
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar, cast

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor
from torch.utils.data import DataLoader
from typing_extensions import Self

from visionkit.backbones import Backbone
from visionkit.data.batch import Batch
from visionkit.data.datamodule import VisionData
from visionkit.data.datasets.base import AnnotationKind, RequiredAnnotation
from visionkit.data.samplers import run_seed
from visionkit.errors import CheckpointError, ConfigError, VisionkitError
from visionkit.metrics.base import EvaluationMetric
from visionkit.metrics.results import MetricResults
from visionkit.metrics.scored_images import ScoredImages
from visionkit.models.base import Model
from visionkit.ops.waiting import waits
from visionkit.pipelines.base import ModelPipeline, Pipeline
from visionkit.pipelines.checkpoint import FORMAT_VERSION, pipeline_from, read_checkpoint
from visionkit.pipelines.description import explain_description, options_from
from visionkit.pipelines.results import Result
from visionkit.preprocessing.base import Preprocessing
from visionkit.registry import Registry
from visionkit.tasks.latency import Latency
from visionkit.tasks.optimizers import (
    OptimizerOptions,
    count_parameters,
    optimizers,
    parameter_groups,
    scaled_lr,
)
from visionkit.tasks.running_means import RunningMeans
from visionkit.tasks.schedules import ScheduleOptions, TimedSchedule, make_scheduler, make_timed_scheduler
from visionkit.tasks.step_seed import seed_step
from visionkit.tasks.training_errors import check_finite

PACKAGES = ("visionkit", "torch", "torchvision", "lightning", "torchmetrics", "albumentations")

logger = logging.getLogger("visionkit")

tasks: Registry[type["Task"]] = Registry("task")


def datamodule_of(trainer: Trainer) -> VisionData | None:
    """Return the trainer's datamodule if it is a `VisionData`."""
    data = getattr(trainer, "datamodule", None)  # Lightning declares no such attribute
    return data if isinstance(data, VisionData) else None


def refuse_beside_pipeline(**options: Any) -> None:
    """Raise ConfigError if an argument is given together with a pipeline, which has its own value for it."""
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise ConfigError(
            f"{', '.join(given)}: the model is given as a pipeline, which has its own\n"
            "give these to the pipeline when you make it, or give the task the plain model"
        )


class Task(LightningModule):
    """Base class of the tasks, which train and score a pipeline.

    Args:
        pipeline: pipeline whose network is trained.
        optimizer: optimizer and learning rates.
        schedule: learning rate schedule.

    Attributes:
        name: name of the task in recipes and checkpoints.
        annotation_kind: kind of annotation that the task is trained with: one of `AnnotationKind`.
        option_types: dataclass of each recipe section that the task takes in addition to those of its pipeline. The
            task stores each as `<section>_options`.
        pipeline_type: class of the pipeline of a single model.
        metric: metric of the split that is being scored.
        results: metrics of the most recently scored split.
        scored: images of the most recently tested split, for confidence intervals and reports; None before, and in a
            process without images.
        timed_schedule: schedule by the time instead of the steps, for runs of a given time; None follows the steps.
        recipe: recipe that the task was created from. It is stored in checkpoints for reference and has no effect.

    Example:
        >>> import visionkit as vk
        >>> model = vk.UNet(vk.create_backbone("resnet18", weights="none"), num_classes=2)
        >>> task = vk.Segmentation(model, ["road", "sky"])
        >>> isinstance(task, vk.Task), task.class_names
        (True, ['road', 'sky'])
    """

    name: ClassVar[str]
    annotation_kind: ClassVar[AnnotationKind]
    option_types: ClassVar[dict[str, type]] = {
        "optimizer": OptimizerOptions,
        "schedule": ScheduleOptions,
    }
    pipeline_type: ClassVar[type[ModelPipeline[Any, Any]]]
    pipeline: Pipeline[Any, Any]
    metric: EvaluationMetric[Any, Any]

    def __init__(
        self, pipeline: Pipeline[Any, Any], optimizer: OptimizerOptions | None, schedule: ScheduleOptions | None
    ) -> None:
        super().__init__()
        self.pipeline = pipeline
        self.optimizer_options = optimizer or OptimizerOptions()
        self.schedule_options = schedule or ScheduleOptions()
        self.recipe: dict[str, Any] = {}
        self.results = MetricResults()
        self.scored: ScoredImages | None = None
        self.latency = Latency()
        self.timed_schedule: TimedSchedule | None = None
        self.train_losses, self.val_losses = RunningMeans(), RunningMeans()

    @classmethod
    def sections(cls) -> dict[str, type]:
        """Return the dataclass of every section of a recipe that the task and its pipeline take."""
        return {**cls.pipeline_type.option_types, **cls.option_types}

    @classmethod
    def required_annotation(cls, model: type[Model], multi_label: bool = False) -> RequiredAnnotation | None:
        """Return the annotation that an image must have to be used with a model; None uses every image."""
        return None

    @classmethod
    def data_arguments(cls, data: VisionData) -> dict[str, Any]:
        """Return the constructor arguments that follow from the data."""
        return {"class_names": data.class_names, "category_ids": data.category_ids}

    @property
    def options(self) -> dict[str, Any]:
        """Options of each section in `option_types`."""
        return {name: getattr(self, f"{name}_options") for name in self.option_types}

    @property
    def model_pipeline(self) -> ModelPipeline[Any, Any]:
        """Pipeline of a single model.

        Raises:
            VisionkitError: the pipeline is an ensemble.
        """
        if not isinstance(self.pipeline, ModelPipeline):
            raise VisionkitError(
                f"{type(self.pipeline).__name__} can be tested and can predict, but it cannot be trained or saved\n"
                "train its members one by one"
            )
        return self.pipeline

    @property
    def network(self) -> Model:
        """Model of the pipeline."""
        return self.model_pipeline.network

    @property
    def backbone(self) -> Backbone:
        """Backbone of the model."""
        return self.network.backbone

    @property
    def preprocessing(self) -> Preprocessing:
        """Preprocessing of the pipeline."""
        return self.pipeline.preprocessing

    @property
    def class_names(self) -> list[str]:
        """Names of the K classes in label order."""
        return self.pipeline.class_names

    @property
    def category_ids(self) -> list[int]:
        """Category id of each class in the dataset."""
        return self.pipeline.category_ids

    @property
    def monitor(self) -> str:
        """Name under which the main metric is logged. Higher values are better."""
        raise NotImplementedError

    def set_evaluation(self, evaluation: Any) -> None:
        """Replace the evaluation options. The model does not change."""
        raise NotImplementedError

    def forward(self, images: Sequence[Tensor], *inputs: Any) -> Any:
        """Return the pipeline's predictions for uint8 images [3, H, W] and its other inputs."""
        return self.pipeline(images, *inputs)

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Check a batch that trains on a GPU, where reading its values would make each step wait, and return it."""
        trains = self._trainer is None or not (self._trainer.testing or self._trainer.predicting)
        if trains and waits(self.device) and isinstance(batch, Batch) and batch.images:
            self.check_batch(batch)
        return batch

    def check_batch(self, batch: Batch) -> None:
        """Check the values of the targets that the model does not check on a GPU; by default none.

        Raises:
            DataError: a value is invalid; the message names the image.
        """

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """Return the sum of the losses of a batch, and log it with its parts if there are several."""
        losses = self.training_losses(batch, self.global_step)
        loss = self.total_loss(losses, batch.image_ids)
        parts = losses if len(losses) > 1 else {}
        self.log_training_losses({"loss": loss.detach(), **parts}, len(batch.images))
        return loss

    def training_losses(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """Return the losses of a training batch by name, whose sum is minimized.

        Args:
            batch: augmented images and targets.
            step: number of the optimizer step, from 0.
        """
        raise NotImplementedError

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Compute the losses and score the predictions. In a process without images, the batch is empty."""
        if batch.images:
            self.score_with_losses(batch)

    def score_with_losses(self, batch: Batch) -> None:
        """Add the losses and the predictions of one forward pass on a batch to `val_losses` and to the metric."""
        raise NotImplementedError

    def choose_thresholds(self) -> None:
        """Choose the thresholds of the pipeline on the images that the metric has; most pipelines have none."""

    def test_step(self, batch: Batch, batch_index: int) -> None:
        """Score the predictions that `predict` makes. In a process without images, the batch is empty."""
        if batch.images:
            with self.latency.measure(len(batch.images)):
                self.score_predictions(batch)

    def score_predictions(self, batch: Batch) -> None:
        """Predict on the images of a batch, and add the predictions to the metric."""
        raise NotImplementedError

    def predict_step(self, batch: Any, batch_index: int) -> list[Result]:
        """Return one result per image of a `Batch` or of a list of uint8 images [3, H, W]."""
        images = batch.images if isinstance(batch, Batch) else list(batch)
        return [self.pipeline.result(prediction) for prediction in self.pipeline(images)]

    def predictions_for_json(self) -> list[dict[str, Any]]:
        """Return the rows of predictions.json for the most recently scored images."""
        raise NotImplementedError

    def result_files(self) -> dict[str, list[dict[str, Any]]]:
        """Return the rows of each results file of the most recently scored images, by file name."""
        return {"predictions.json": self.predictions_for_json()}

    def configure_optimizers(self) -> Any:
        """Return the optimizer of the trainable parameters and the schedule, in Lightning's format.

        The learning rate is scaled to the effective batch size; see `OptimizerOptions.scale_lr`.

        Raises:
            ConfigError: the run has no number of steps, and no given time.
        """
        trainer = self.trainer
        if trainer.train_dataloader is None:
            trainer.fit_loop.setup_data()
        loader = trainer.train_dataloader
        batch_size = (loader.batch_size or 1) if isinstance(loader, DataLoader) else 1
        effective = batch_size * trainer.world_size * trainer.accumulate_grad_batches
        options = dataclasses.replace(self.optimizer_options, lr=scaled_lr(self.optimizer_options, effective))
        optimizer = optimizers.get(options.name)(self.parameter_groups(options), options)
        if self.timed_schedule is not None:
            return [optimizer], make_timed_scheduler(
                optimizer, self.schedule_options, self.timed_schedule, self.monitor
            )
        if math.isinf(trainer.estimated_stepping_batches):
            raise ConfigError(
                "the learning rate schedule needs the length of the run: set trainer.max_epochs or trainer.max_steps\n"
                "to train for a given time: visionkit fit --minutes N"
            )
        steps = int(trainer.estimated_stepping_batches)
        epochs = trainer.max_epochs if trainer.max_epochs and trainer.max_epochs > 0 else self._epochs(steps)
        return [optimizer], make_scheduler(optimizer, self.schedule_options, steps, epochs, self.monitor)

    def parameter_groups(self, options: OptimizerOptions) -> list[dict[str, Any]]:
        """Return the optimizer groups of the trainable parameters; see `parameter_groups`."""
        return parameter_groups(self.network, options)

    def _epochs(self, steps: int) -> int:
        """Return the number of epochs of a run whose length is given in optimizer steps."""
        steps_per_epoch = self.trainer.num_training_batches / self.trainer.accumulate_grad_batches
        return max(math.ceil(steps / steps_per_epoch), 1)

    def check_precision(self, precision: str) -> None:
        """Raise ConfigError if the task cannot be used with a `Trainer.precision`."""

    def setup(self, stage: str) -> None:
        """Check the precision of the trainer."""
        self.check_precision(str(self.trainer.precision))

    def start_training(self, data: VisionData | None) -> None:
        """Prepare for training: read images in prediction as in training, and let the loader resize them.

        Args:
            data: datamodule of the trainer; None if it is not a `VisionData`.
        """
        if data is not None:
            self.model_pipeline.bit_depth = data.bit_depth
            data.augmentation.input_size = self.model_pipeline.preprocessing.loader_size

    def on_fit_start(self) -> None:
        """Prepare for training, and log how many parameters train, which shows a network that is frozen by mistake."""
        self.start_training(datamodule_of(self.trainer))
        for part, module in self.network.named_children():
            trainable, total = count_parameters(module.parameters())
            if total:
                logger.info("%s: %s of %s parameters train", part, f"{trainable:,}", f"{total:,}")

    def total_loss(self, losses: dict[str, Tensor], image_ids: list[Any]) -> Tensor:
        """Return the sum of the losses.

        Raises:
            DivergedError: the sum is not finite; the message names the images of the batch.
        """
        loss = torch.stack(list(losses.values())).sum()
        check_finite(loss, losses, self.global_step, image_ids)
        return loss

    def on_train_batch_start(self, batch: Any, batch_index: int) -> None:
        """Seed the random numbers of the step."""
        seed_step(run_seed(), self.global_rank, self.current_epoch, batch_index)

    def on_train_epoch_end(self) -> None:
        """Log the mean training losses of the epoch.

        Lightning's loggers would get them after the checkpoints of the epoch are written, and a run that is killed in
        between and resumed would lack them.
        """
        means = self._log_means("train", self.train_losses, logger=False)
        for own in self.loggers:
            own.log_metrics({**means, "epoch": self.current_epoch}, step=self.global_step - 1)
            own.save()

    def on_validation_epoch_end(self) -> None:
        """Log the mean losses of the validation split, and score it. During training, choose the thresholds on it."""
        if self.trainer.state.fn == TrainerFn.FITTING and not self.trainer.sanity_checking:
            self.choose_thresholds()
        self._log_means("val", self.val_losses, logger=True)
        self.log_results("val", self.computed_metrics())

    def start_test(self, data: VisionData | None) -> None:
        """Prepare for testing, which most tasks need not.

        Args:
            data: datamodule of the trainer; None if it is not a `VisionData`.
        """

    def on_test_start(self) -> None:
        """Prepare for testing."""
        self.latency = Latency()
        self.start_test(datamodule_of(self.trainer))

    def test_results(self) -> MetricResults:
        """Return the metrics of the test split after its last batch, and keep the predictions for the results files."""
        return self.computed_metrics()

    def on_test_epoch_end(self) -> None:
        """Score the test split."""
        self.log_results("test", self.test_results())

    def with_intervals(self, results: MetricResults) -> MetricResults:
        """Return results with the confidence intervals and the analysis of the scored images."""
        if self.scored is None:
            return results
        return self.scored.added_to(results)

    def log_training_losses(self, losses: dict[str, Tensor], images: int) -> None:
        """Log the losses of a training batch of `images` images, and add them to the means of the epoch."""
        self.train_losses.update(losses, images)
        self.log_dict({f"train/{name}_step": value for name, value in losses.items()}, batch_size=images)

    def _log_means(self, split: str, means: RunningMeans, logger: bool) -> dict[str, float]:
        """Log the means over all images of all processes, start anew, and return what was logged."""
        named = {f"{split}/{name}": value for name, value in means.compute().items()}
        self.log_dict(named, batch_size=1, logger=logger)
        means.reset()
        return named

    def computed_metrics(self) -> MetricResults:
        """Return the metrics of all images since the last call. Every process must call this."""
        # Every process computes the same values from the gathered records, so no reduction is needed.
        results = self.metric.compute()
        with torch.inference_mode(False):  # tensors created in inference mode cannot be modified in training
            self.metric.reset()
        return results

    def log_results(self, split: str, results: MetricResults) -> None:
        """Log and store the metrics of a split."""
        if self.trainer.sanity_checking:  # only a few images and an untrained network
            return
        self.results = results
        self.log_dict({f"{split}/{name}": value for name, value in results.defined().items()}, prog_bar=False)

    def description(self) -> dict[str, Any]:
        """Return primitive values from which this task can be rebuilt, without the weights."""
        return {
            **self.model_pipeline.description(),
            "format": FORMAT_VERSION,
            **{name: dataclasses.asdict(options) for name, options in self.options.items()},
            "recipe": self.recipe,
            "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        }

    @classmethod
    def options_of(cls, description: dict[str, Any]) -> dict[str, Any]:
        """Return the options of each section in `option_types` from a description."""
        return {name: options_from(kind, description.get(name, {}), name) for name, kind in cls.option_types.items()}

    @classmethod
    def from_description(cls, description: dict[str, Any], pipeline: Pipeline[Any, Any]) -> Self:
        """Return the task with the given description and `pipeline`."""
        task = cls(pipeline, **cls.options_of(description))
        task.recipe = description["recipe"]
        return task

    @classmethod
    def load_from_checkpoint(  # type: ignore[override]  # the model is the only argument that a file cannot hold
        cls, checkpoint_path: str | Path, map_location: Any = None, *, model: Model | None = None
    ) -> Self:
        """Return the task of a checkpoint, in training mode like every LightningModule.

        Args:
            checkpoint_path: path of the checkpoint.
            map_location: device; None is the CPU.
            model: the network, if visionkit cannot build it by name.

        Raises:
            CheckpointError: the file is missing or corrupt, is not a visionkit checkpoint, or contains another task.
        """
        checkpoint = read_checkpoint(checkpoint_path)
        description = checkpoint["visionkit"]
        with explain_description(description, checkpoint_path):
            if tasks.get(description["task"]) is not cls and cls is not Task:
                raise CheckpointError(f"{checkpoint_path} is for the task {description['task']}, not {cls.name}")
        pipeline = pipeline_from(checkpoint, checkpoint_path, model)
        with explain_description(description, checkpoint_path):
            task = tasks.get(description["task"]).from_description(description, pipeline)
        return cast(Self, task.to(map_location or "cpu").train())

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Continue the mean losses of the epoch."""
        self.train_losses.load_state_dict(checkpoint["train_losses"], is_first_process=self.global_rank == 0)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the description, the current metrics and the losses of the current epoch to the checkpoint."""
        checkpoint["train_losses"] = self.train_losses.state_dict()
        metrics = self.trainer.callback_metrics if self._trainer is not None else {}
        checkpoint["visionkit"] = {
            **self.description(),
            "metrics": {name: float(value) for name, value in metrics.items()},
        }
