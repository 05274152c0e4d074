"""What classification and segmentation share: a network with logits of classes, and a loss that may weigh them."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from visionkit.data.datamodule import VisionData
from visionkit.errors import ConfigError
from visionkit.metrics.gather import gather_by_key
from visionkit.models.base import ClassificationModel, SegmentationModel
from visionkit.ops.class_weights import class_weights
from visionkit.tasks.base import PreprocessOptions, Task, explain_batch_norm_error
from visionkit.tasks.optimizers import OptimizerOptions, ScheduleOptions
from visionkit.tasks.runtime import RuntimeOptions


class ClassLossOptions(Protocol):
    """A task's `loss` section: a dataclass with at least this."""

    class_weights: Any


WeightedLogits = Callable[[Tensor], list[tuple[float, Tensor]]]


class LogitsTask(Task):
    """A task whose network gives logits of K classes, of an image or of each of its pixels.

    Args:
        model: the network; with `weighted_logits` it may have auxiliary heads, which only training looks at.
        class_names: K names in label order.
        category_ids: the data set's own class ids; None numbers them from 1.
        preprocess: how images are brought to the network's input.
        optimizer: optimizer and rates.
        schedule: the rate over time.
        loss: what is minimized.
        runtime: how the network is run.

    Attributes:
        class_weights: float32 [K], the weight of each class in the loss; None weighs them alike.
        rows: what predictions.json says of each image scored last, by its id.
        extras: what metrics.json says of them beyond metrics.
    """

    class_weights: Tensor | None

    def __init__(
        self,
        model: ClassificationModel | SegmentationModel,
        class_names: list[str],
        category_ids: list[int] | None,
        preprocess: PreprocessOptions | None,
        optimizer: OptimizerOptions | None,
        schedule: ScheduleOptions | None,
        loss: ClassLossOptions | None,
        runtime: RuntimeOptions | None,
    ) -> None:
        super().__init__(model, class_names, category_ids, preprocess, optimizer, schedule)
        self.loss_options: Any = loss or self.option_types["loss"]()
        self.runtime_options = runtime or RuntimeOptions()
        self.network.to(memory_format=self.runtime_options.memory_format)
        self.register_buffer("class_weights", None, persistent=False)
        self.rows: dict[int | str, dict[str, Any]] = {}
        self.extras: dict[str, Any] = {}

    def count_classes(self, data: VisionData) -> tuple[Tensor, Tensor | None]:
        """How often each class occurs in the training split, [K], and out of how much, [K], where that is not all."""
        raise NotImplementedError

    def loss(self, logits: Tensor, truth: Tensor) -> Tensor:
        """What is minimized, of the logits of one head."""
        raise NotImplementedError

    def predictions_for_json(self) -> list[dict[str, Any]]:
        """For each image its id and what was found in it."""
        return [{"image_id": image_id, **row} for image_id, row in self.rows.items()]

    def details(self) -> dict[str, Any]:
        """What the metric knows beyond metrics: the confusion matrix."""
        return self.extras

    def training_loss(
        self, compute: WeightedLogits, x: Tensor, truth: Tensor, image_ids: Sequence[int | str]
    ) -> Tensor:
        """Return the weighted sum of the losses of all heads, and log it.

        Args:
            compute: gives loss weight and logits of every head.
            x: input of `compute`, [B, ...].
            truth: what `loss` compares the logits with.
            image_ids: ids of the B images, for messages.
        """
        with explain_batch_norm_error():
            answers = compute(self.runtime_options.lay_out(x))
        losses = {
            f"loss_head{head}" if head else "loss_main": weight * self.loss(logits, truth)
            for head, (weight, logits) in enumerate(answers)
        }
        loss = self.total_loss(losses, list(image_ids))
        self.log_losses("train", {"loss": loss.detach()}, len(x))
        return loss

    def on_fit_start(self) -> None:
        """Say what trains, count the classes where the loss weighs them, and compile the network if asked to."""
        super().on_fit_start()
        self.runtime_options.start_training(self.network)
        weights = self._weights_for_training()
        self.class_weights = None if weights is None else weights.to(self.device)

    def on_validation_epoch_end(self) -> None:
        """Score the validation split."""
        self.score("val")

    def on_test_start(self) -> None:
        """Forget the images of an earlier run."""
        self.rows = {}

    def on_test_epoch_end(self) -> None:
        """Score the test split, and keep all processes' rows for the results file."""
        self.extras = self.metric.details()
        self.score("test")
        self.rows = gather_by_key(self.rows)

    def _weights_for_training(self) -> Tensor | None:
        """Weight of each class in the loss.

        Raises:
            ConfigError: the classes must be counted, and the trainer has no datamodule to count them in.
        """
        kind, classes = self.loss_options.class_weights, len(self.class_names)
        if kind == "none" or not isinstance(kind, str):
            return class_weights(torch.zeros(classes), kind)
        data = getattr(self.trainer, "datamodule", None)
        if data is None:
            raise ConfigError(
                f"loss.class_weights: give {classes} numbers, or the data as a VisionData whose classes can be counted"
            )
        counts, out_of = self.count_classes(data)
        return class_weights(counts, kind, out_of)
