"""Fitting of layers that are not trained by gradients, after the last epoch of a run.

A model lists such layers in `DetectionModel.fitted_layers` by the name of their fitting stage. The stages fit them to
the network of the best checkpoint. The finished network is then written to best.ckpt and last.ckpt. Expensive results
are stored in files named by a digest of everything they depend on, so that an interrupted run can be resumed.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import cast

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from visionkit.backbones.weights_file import read_tensors
from visionkit.data.datamodule import VisionData
from visionkit.data.io.atomic_write import atomic_write
from visionkit.engine.moving_average import AVERAGE
from visionkit.engine.post_training_fit import FittedLayer, FittingContext, fitting_stages
from visionkit.engine.update_metric import update_metric
from visionkit.errors import ConfigError
from visionkit.models.base import DetectionModel
from visionkit.pipelines.checkpoint import read_checkpoint
from visionkit.tasks.base import datamodule_of
from visionkit.tasks.detection import Detection

logger = logging.getLogger("visionkit")


@dataclass
class AfterTrainingOptions:
    """Options of the fitting stages after the last epoch.

    Attributes:
        folder: folder for features and fitted weights, which several runs may share. None uses `features` in the run's
            folder.

    Example:
        >>> import visionkit as vk
        >>> vk.AfterTrainingOptions(folder="features").folder
        'features'
    """

    folder: str | None = None


class AfterTraining(Callback):
    """Callback that fits the model's `fitted_layers` at the end of `fit`. It does nothing for models without them.

    Args:
        run_folder: folder with best.ckpt and last.ckpt.
        options: folder of the features.
    """

    def __init__(self, run_folder: Path, options: AfterTrainingOptions | None = None) -> None:
        self.run_folder = run_folder
        self.folder = Path(options.folder) if options and options.folder else run_folder / "features"

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Check the requirements of the stages before the first epoch.

        Raises:
            ConfigError: the trainer has no `VisionData`, which the stages read.
            VisionkitError: a requirement of a stage is missing.
        """
        names = list(_fitted_layers(pl_module))
        for name in names:
            fitting_stages.get(name)().check()
        if names and datamodule_of(trainer) is None:
            raise ConfigError(f"the fitting stages after training ({', '.join(names)}) need a VisionData as datamodule")

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Fit the layers that are not fitted, and write them to the checkpoints."""
        names = list(_fitted_layers(pl_module))
        paths = [path for path in (self.run_folder / "last.ckpt", self.run_folder / "best.ckpt") if path.is_file()]
        if not names or not paths or all(_is_finished(path, pl_module) for path in paths):
            return
        if trainer.world_size > 1:
            logger.warning("%s: fitted by a single process; continue with: --resume trainer.devices=1", _joined(names))
            return
        assert isinstance(pl_module, Detection)
        data = datamodule_of(trainer)
        assert data is not None  # checked by `setup`
        self._finish(trainer, pl_module, data, paths)

    def _finish(self, trainer: Trainer, task: Detection, data: VisionData, paths: Sequence[Path]) -> None:
        """Fit the layers of the last checkpoint in `paths`, score it, and write it to all paths."""
        best = read_checkpoint(paths[-1])
        task.load_state_dict(best["state_dict"])
        task.to(trainer.strategy.root_device).eval()
        metrics = best["visionkit"]["metrics"]
        task.model_pipeline.class_thresholds = best["visionkit"].get("class_thresholds")
        del best
        layers = _fitted_layers(task)
        if all(layer.fitted for layer in layers.values()):
            logger.info("no later epoch was better: the finished detector of %s is kept", paths[-1])
        else:
            logger.info("training is finished; fitting %s of %s", _joined(list(layers)), paths[-1])
            self._fit(FittingContext(task, data, trainer, self.folder))
            scores = _validate(task, data, trainer)
            metrics = {**metrics, **scores}
            if scores:
                for training_logger in trainer.loggers:
                    training_logger.log_metrics(scores, trainer.global_step)
        for path in paths:
            _write(path, task, metrics)

    def _fit(self, context: FittingContext) -> None:
        for name, layer in _fitted_layers(context.task).items():
            stage = fitting_stages.get(name)()
            path = self.folder / f"{name}-{stage.key(context)}.pt"
            if path.is_file():
                logger.info("%s: read from %s", name, path)
                weights = read_tensors(path)
            else:
                weight, bias = stage.fit(context)
                weights = {"weight": weight, "bias": bias}
                with atomic_write(path) as file:
                    torch.save(weights, file)
            layer.fit(weights["weight"], weights["bias"])


def has_unfitted_layers(task: LightningModule) -> bool:
    """Return whether the model has layers that a fitting stage has yet to fit."""
    return any(not layer.fitted for layer in _fitted_layers(task).values())


def _fitted_layers(task: LightningModule) -> dict[str, FittedLayer]:
    """Return the fitted layers of a task's model by stage name, in order."""
    if not isinstance(task, Detection) or not isinstance(task.network, DetectionModel):
        return {}
    return cast(dict[str, FittedLayer], dict(task.network.fitted_layers.items()))


def _is_finished(path: Path, task: LightningModule) -> bool:
    """Return whether all fitted layers of a checkpoint are fitted."""
    layers = _fitted_layers(task).values()
    prefixes = [name for name, module in task.named_modules() if any(module is layer for layer in layers)]
    state = read_checkpoint(path)["state_dict"]
    return all(bool(state[f"{prefix}.fitted"]) for prefix in prefixes)


def _validate(task: Detection, data: VisionData, trainer: Trainer) -> dict[str, float]:
    """Score the val split as after an epoch, with one view and `limit_val_batches`, and return the logged metrics.

    Returns:
        Metrics over all classes by their logged name; empty if the run has no validation.
    """
    limit = trainer.limit_val_batches
    if "val" not in data.splits or not limit:
        return {}
    loader = data.val_dataloader()
    update_metric(task, islice(loader, limit if isinstance(limit, int) else int(limit * len(loader))), trainer)
    task.choose_thresholds()
    task.results = task.metric.compute()
    task.metric.reset()
    return {f"val/{name}": value for name, value in task.results.defined().items()}


def _write(path: Path, task: Detection, metrics: dict[str, float]) -> None:
    """Write the finished network to a checkpoint. The training state in the checkpoint is kept."""
    checkpoint = read_checkpoint(path)
    state = {name: tensor.cpu() for name, tensor in task.state_dict().items()}
    # If the weights are averaged, a resumed run must continue from this network, so all state dicts are replaced.
    checkpoint.update(dict.fromkeys({"state_dict", "current_model_state", AVERAGE} & checkpoint.keys(), state))
    thresholds = task.model_pipeline.class_thresholds
    checkpoint["visionkit"] = {**checkpoint["visionkit"], "metrics": metrics, "class_thresholds": thresholds}
    with atomic_write(path) as file:
        torch.save(checkpoint, file)


def _joined(names: Sequence[str]) -> str:
    return " and ".join(names)
