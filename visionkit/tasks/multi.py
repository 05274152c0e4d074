"""Task of a model with several heads, each of which is trained and scored as by its own task."""

import functools
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from typing_extensions import Self

from visionkit.data.batch import Batch
from visionkit.data.datamodule import VisionData
from visionkit.data.multi.multi_data import MultiData
from visionkit.data.samplers import run_seed
from visionkit.errors import ConfigError
from visionkit.metrics.results import MetricResults
from visionkit.models.multi_head import MultiHead
from visionkit.ops.shared_gradients import cosine_similarities, shared_gradients
from visionkit.option_checks import check_above
from visionkit.pipelines.base import Pipeline
from visionkit.pipelines.multi import MultiPipeline
from visionkit.registry import suggest
from visionkit.tasks.balancing.options import BalancingOptions
from visionkit.tasks.base import Task, tasks
from visionkit.tasks.logits_task import LogitsTask
from visionkit.tasks.multi_metric import MultiMetric
from visionkit.tasks.optimizers import HEAD, OptimizerOptions
from visionkit.tasks.schedules import ScheduleOptions
from visionkit.tasks.step_seed import seed_step

logger = logging.getLogger("visionkit")

OF_CHECKPOINT = ("format", "recipe", "versions")
"""Entries of a task's description that a checkpoint has once for all heads."""

USE_GRADIENTS = ("gradnorm", "pcgrad")
"""Ways of balancing that compare the gradients of shared parameters."""


@dataclass
class MultiEvaluationOptions:
    """Evaluation of a model with several heads. Each head has evaluation options of its own.

    Attributes:
        reference: main metric of each head's single-task model, 0..1. best.ckpt is then selected by the mean relative
            change against them (Vandenhende et al. 2021), and otherwise by the mean of the main metrics.

    Raises:
        ConfigError: a metric is not above 0.

    Example:
        >>> import visionkit as vk
        >>> vk.MultiEvaluationOptions(reference={"objects": 0.41, "regions": 0.6}).reference["regions"]
        0.6
    """

    reference: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_above(0, reference=self.reference)


@tasks.register("multi")
class MultiTask(Task):
    """Several tasks on one backbone: a detector, a segmentation model and a classifier that are trained together.

    A batch has images from one or several data cards. An image contributes to the heads it has labels for, and the
    heads that prepare images in the same way share the forward pass of the backbone. Every head draws the random
    numbers that it would draw alone.

    Args:
        model: the model, or its pipeline.
        heads: for each head, the task of the model `model.head(name)`, with its classes, preprocessing, loss, inference
            and evaluation options. Its optimizer and schedule are not used.
        optimizer: optimizer and learning rates.
        schedule: learning rate schedule.
        balancing: how the losses of the heads are balanced.
        evaluation: metric that selects best.ckpt.

    Attributes:
        heads: the tasks of the heads by name.

    Raises:
        ConfigError: a task is missing or is one of another model, or an option is for a head that does not exist.

    Example:
        >>> import visionkit as vk
        >>> heads = {"regions": {"name": "unet", "num_classes": 2}, "tags": {"name": "classifier", "num_classes": 3}}
        >>> model = vk.MultiHead(vk.create_backbone("resnet18", weights="none"), num_classes=5, heads=heads)
        >>> regions = vk.Segmentation(model.head("regions"), ["sky", "road"])
        >>> tags = vk.Classification(model.head("tags"), ["day", "night", "rain"])
        >>> task = vk.MultiTask(model, {"regions": regions, "tags": tags})
        >>> task.monitor, task.class_names[2]
        ('val/mean_metric', 'tags/day')
    """

    name: ClassVar[str] = "multi"
    option_types: ClassVar[dict[str, type]] = {
        **Task.option_types,
        "balancing": BalancingOptions,
        "evaluation": MultiEvaluationOptions,
    }
    pipeline_type = MultiPipeline
    pipeline: MultiPipeline
    balancing_options: BalancingOptions
    evaluation_options: MultiEvaluationOptions
    metric: MultiMetric

    def __init__(
        self,
        model: MultiHead | MultiPipeline,
        heads: Mapping[str, Task],
        optimizer: OptimizerOptions | None = None,
        schedule: ScheduleOptions | None = None,
        balancing: BalancingOptions | None = None,
        evaluation: MultiEvaluationOptions | None = None,
    ) -> None:
        if isinstance(model, MultiHead):
            model = MultiPipeline(model, {name: task.model_pipeline for name, task in heads.items()})
        super().__init__(model, optimizer, schedule)
        for name in model.heads:
            if name not in heads or heads[name].pipeline is not model.heads[name]:
                raise ConfigError(f"heads: {name} needs the task of the pipeline of this head")
        # not registered as modules: their pipelines are parts of this task's pipeline already
        self.heads: dict[str, Task] = {name: heads[name] for name in model.heads}
        for name, task in self.heads.items():
            task.val_losses = self.val_losses.part(f"{name}/")
        self.balancing_options = balancing or BalancingOptions()
        self.balancer = self.balancing_options.make(list(self.heads))
        self._tested: list[str] = []
        self.set_evaluation(evaluation or MultiEvaluationOptions())

    @property
    def model_pipeline(self) -> MultiPipeline:
        """See `Task.model_pipeline`."""
        return self.pipeline

    @property
    def network(self) -> MultiHead:
        """The model."""
        return self.pipeline.network

    @property
    def monitor(self) -> str:
        """Name of the metric over all heads on the validation split."""
        return f"val/{self.metric.main_metric}"

    def set_evaluation(self, evaluation: MultiEvaluationOptions) -> None:
        """See `Task.set_evaluation`.

        Raises:
            ConfigError: `reference` does not have the metric of exactly the heads.
        """
        for name in evaluation.reference:
            if name not in self.heads:
                raise ConfigError(f"reference: there is no head {name!r}{suggest(name, self.heads)}")
        if missing := [name for name in self.heads if evaluation.reference and name not in evaluation.reference]:
            raise ConfigError(f"reference: the metric of the single-task model is missing for {', '.join(missing)}")
        self.evaluation_options = evaluation
        self.metric = MultiMetric(
            {name: task.metric for name, task in self.heads.items()},
            {name: task.monitor.removeprefix("val/") for name, task in self.heads.items()},
            evaluation.reference,
        )

    def set_head_evaluation(self, name: str, evaluation: Any) -> None:
        """Replace the evaluation options of a head."""
        self.pipeline.head(name)  # an error if there is none
        self.heads[name].set_evaluation(evaluation)
        self.set_evaluation(self.evaluation_options)

    def check_batch(self, batch: Batch) -> None:
        """See `Task.check_batch`; every head checks its part."""
        for name, part in self._parts(batch).items():
            self.heads[name].check_batch(part)

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """Return the balanced sum of the losses of the heads, and log it with the losses of each head."""
        seed = functools.partial(seed_step, run_seed(), self.global_rank, self.current_epoch, batch_index)
        parts = self._trained_parts(batch)
        losses = {}
        for name, of_head in self._losses(parts, self.global_step, seed).items():
            losses[name] = self.total_loss(of_head, parts[name].image_ids)
            self.log_training_losses({f"{name}/loss": losses[name].detach(), **of_head}, len(parts[name].images))
        shared = self.network.shared_parameters()
        self._log_similarities(losses, shared)
        loss = self.balancer(losses, shared) if losses else self._nothing(self.parameters())
        self.log_training_losses({"loss": loss.detach()}, len(batch.images))
        # in a distributed run, every process must have a gradient of each parameter, also of those that only heads
        # without images in this batch use
        return cast(Tensor, loss if self.trainer.world_size == 1 else loss + self._nothing(self.parameters()))

    def training_losses(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """See `Task.training_losses`; the losses of each head, as "head/loss", before they are balanced."""
        of_heads = self._losses(self._trained_parts(batch), step, lambda: None)
        return {name: loss for losses in of_heads.values() for name, loss in losses.items()}

    def score_with_losses(self, batch: Batch) -> None:
        """See `Task.score_with_losses`."""
        with self.network.one_pass():
            for name, part in self._parts(batch).items():
                self.heads[name].score_with_losses(part)
                self.metric.add_head(name)

    def score_predictions(self, batch: Batch) -> None:
        """See `Task.score_predictions`."""
        with self.network.one_pass():
            for name, part in self._parts(batch).items():
                with self.pipeline.pass_of(name):
                    self.heads[name].score_predictions(part)
                self.metric.add_head(name)

    def choose_thresholds(self) -> None:
        """See `Task.choose_thresholds`; heads without images keep theirs."""
        for name in self.metric.heads_with_images():
            self.heads[name].choose_thresholds()

    def parameter_groups(self, options: OptimizerOptions) -> list[dict[str, Any]]:
        """See `Task.parameter_groups`. Learned weights of the losses are trained without weight decay."""
        groups = super().parameter_groups(options)
        learned = list(self.balancer.parameters())
        if learned:
            groups.append({"params": learned, "part": HEAD, "lr": options.lr, "weight_decay": 0.0})
        return groups

    def check_precision(self, precision: str) -> None:
        """See `Task.check_precision`; every head must allow it."""
        for task in self.heads.values():
            task.check_precision(precision)

    def start_training(self, data: VisionData | None) -> None:
        """See `Task.start_training`. Each head is prepared for the images of its cards.

        Raises:
            ConfigError: the data has no heads, the balancing needs shared layers and none are trained, or a head is to
                be compiled.
        """
        self._check_shared_layers()
        self._check_not_compiled()
        if data is not None and not isinstance(data, MultiData):
            raise ConfigError("a MultiTask is trained with a MultiData, which knows the heads that have labels")
        for name, task in self.heads.items():
            task.start_training(None if data is None else data.of_head(name))
        if data is not None:
            self._report_unscored_heads(data)
            self.pipeline.bit_depth = data.bit_depth
            for card, augmentation in data.augmentation.of_card.items():
                heads = [name for name in data.heads_of_images(card) if self.balancer.weights[name]]
                augmentation.input_size = functools.partial(self.pipeline.preprocessing.loader_size_of, heads)

    def start_test(self, data: VisionData | None) -> None:
        """See `Task.start_test`."""
        self._tested = []
        for name, task in self.heads.items():
            task.start_test(data.of_head(name) if isinstance(data, MultiData) and name in data.sources else None)

    def test_results(self) -> MetricResults:
        """See `Task.test_results`; heads without images have none."""
        self._tested = self.metric.heads_with_images()
        results = self.metric.combined({name: self.heads[name].test_results() for name in self._tested})
        self.metric.reset()
        return results

    def result_files(self) -> dict[str, list[dict[str, Any]]]:
        """See `Task.result_files`; the files of each head with images, with its name in front."""
        files = {name: self.heads[name].result_files() for name in self._tested}
        return {f"{name}_{file}": rows for name, of_head in files.items() for file, rows in of_head.items()}

    def predictions_for_json(self) -> list[dict[str, Any]]:
        """Return the rows of all heads with images, each with the name of its head."""
        rows = {name: self.heads[name].predictions_for_json() for name in self._tested}
        return [{"head": name, **row} for name, of_head in rows.items() for row in of_head]

    def description(self) -> dict[str, Any]:
        """See `Task.description`. It contains the description of each head's task."""
        heads = {name: task.description() for name, task in self.heads.items()}
        for head in heads.values():
            for entry in OF_CHECKPOINT:
                del head[entry]
        return {**super().description(), "heads": heads}

    @classmethod
    def from_description(cls, description: dict[str, Any], pipeline: Pipeline[Any, Any]) -> Self:
        """See `Task.from_description`."""
        assert isinstance(pipeline, MultiPipeline)
        heads = {
            name: tasks.get(head["task"]).from_description({**head, "recipe": {}}, pipeline.head(name))
            for name, head in description["heads"].items()
        }
        task = cls(pipeline, heads, **cls.options_of(description))
        task.recipe = description["recipe"]
        return task

    def _losses(self, parts: Mapping[str, Batch], step: int, seed: Callable[[], None]) -> dict[str, dict[str, Tensor]]:
        """Return the losses of each head, named "head/loss", for its part of a batch.

        Args:
            parts: images of each head.
            step: number of the optimizer step.
            seed: seeds the random numbers, before each head.
        """
        losses = {}
        with self.network.one_pass():
            for name in sorted(parts, key=lambda name: -len(parts[name].images)):  # others get some of the first's maps
                seed()
                of_head = self.heads[name].training_losses(parts[name], step)
                losses[name] = {f"{name}/{part}": loss for part, loss in of_head.items()}
        return {name: losses[name] for name in self.heads if name in losses}

    def _trained_parts(self, batch: Batch) -> dict[str, Batch]:
        """Return the parts of a batch, see `_parts`, of the heads with a weight above 0."""
        return {name: part for name, part in self._parts(batch).items() if self.balancer.weights[name]}

    def _parts(self, batch: Batch) -> dict[str, Batch]:
        """Return the images of a batch with labels of each head, for the heads that have any.

        Images of data without heads have labels of all.
        """
        parts = {}
        for name in self.pipeline.order:
            rows = [row for row, target in enumerate(batch.targets) if name in target.get("heads", self.heads)]
            if rows:
                parts[name] = Batch([batch.images[row] for row in rows], [batch.targets[row] for row in rows])
        return parts

    def _log_similarities(self, losses: Mapping[str, Tensor], shared: Sequence[nn.Parameter]) -> None:
        """Log the cosine similarity of the gradients of each pair of heads, from time to time."""
        every = self.balancing_options.cosine_every
        if len(losses) < 2 or not shared or not every or (self.global_step + 1) % every:
            return
        similarities = cosine_similarities(shared_gradients(list(losses.values()), shared))
        names = list(losses)
        pairs = torch.combinations(torch.arange(len(names))).tolist()
        cosines = {f"cosine/{names[one]}-{names[other]}": similarities[one, other] for one, other in pairs}
        self.log_training_losses(cosines, 1)

    def _report_unscored_heads(self, data: MultiData) -> None:
        """Warn of heads without validation images, which do not count in the metric that selects best.ckpt."""
        unscored = [name for name in self.heads if "val" not in data.of_head(name).splits]
        if unscored and "val" in data.splits:
            logger.warning(
                "%s is computed without %s, whose cards have no val split; add one, or set data.cards.<card>.holdout",
                self.monitor, ", ".join(unscored),
            )  # fmt: skip

    def _check_shared_layers(self) -> None:
        if self.balancing_options.name in USE_GRADIENTS and not self.network.shared_parameters():
            raise ConfigError(
                f"balancing {self.balancing_options.name} compares gradients of the backbone, and all of it is frozen\n"
                "train some of its stages (model.backbone.frozen_stages), or set balancing.name=fixed or uncertainty"
            )

    def _check_not_compiled(self) -> None:
        for name, task in self.heads.items():
            if isinstance(task, LogitsTask) and task.runtime_options.compile:
                raise ConfigError(
                    f"heads.{name}.runtime.compile: a head cannot be compiled by itself, since it shares the backbone\n"
                    "remove it"
                )

    @staticmethod
    def _nothing(parameters: Iterable[nn.Parameter]) -> Tensor:
        """Return 0 with a gradient 0 of all parameters."""
        return torch.stack([0.0 * p.sum() for p in parameters if p.requires_grad]).sum()
