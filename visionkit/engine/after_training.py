"""Stages of training that follow fine-tuning, in the same run: R-CNN's machines and regression of boxes.

A network that has some names them in `after_training`, a ModuleDict of `FittedLinear`. When its last epoch is over they
are fitted to features of the best checkpoint's network, which then goes into best.ckpt and last.ckpt as a whole. All
that takes long leaves a file, found again by the content of all that it came from, so that a run that was stopped is
resumed where it was.
"""

import dataclasses
import logging
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from visionkit.backbones.weights_file import read_tensors
from visionkit.data.cached_features import digest
from visionkit.data.datamodule import VisionData
from visionkit.data.io.atomic_write import atomic_write
from visionkit.engine.rcnn.region_features import TrainingRegions, collect
from visionkit.engine.rcnn.stage import fitting_stages
from visionkit.errors import ConfigError
from visionkit.models.base import DetectionModel
from visionkit.pipelines.checkpoint import read_checkpoint
from visionkit.tasks.base import datamodule_of

logger = logging.getLogger("visionkit")


@dataclass
class AfterTrainingOptions:
    """Where the stages after fine-tuning keep features.

    Attributes:
        folder: any; files in it are found by their content, and many runs may share it. None is `features` in the
            run's folder.
    """

    folder: str | None = None


class AfterTraining(Callback):
    """Runs a network's later stages at the end of `fit`, also of one that had nothing left to fine-tune.

    Args:
        run: the run's folder, with best.ckpt and last.ckpt.
        folder: for features.
    """

    def __init__(self, run: Path, folder: Path | None = None) -> None:
        self.run, self.folder = run, folder or run / "features"

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse before the first epoch what could not be finished after the last.

        Raises:
            ConfigError: the stages could not look at the data.
            VisionkitError: a stage lacks what it needs.
        """
        names = list(_parts(pl_module))
        for name in names:
            fitting_stages.get(name)().check()
        if names and datamodule_of(trainer) is None:
            raise ConfigError(f"the stages after fine-tuning ({', '.join(names)}) need the data of a card")

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Fit what is not fitted yet, and write it into the checkpoints."""
        paths = [path for path in (self.run / "last.ckpt", self.run / "best.ckpt") if path.is_file()]
        names = list(_parts(pl_module))
        if not names or not paths or all(_holds_all(path, names) for path in paths):
            return
        if trainer.world_size > 1:
            logger.warning(
                "%s: fitted by one process alone; go on with: --resume trainer.devices=1", " and ".join(names)
            )
            return
        self._finish(trainer, pl_module, paths)

    def _finish(self, trainer: Trainer, task: Any, paths: list[Path]) -> None:
        """Fit the parts of the last one of `paths`, measure it, and write it into all of them, itself at the end."""
        base = read_checkpoint(paths[-1])
        task.load_state_dict(base["state_dict"])
        task.to(trainer.strategy.root_device).eval()
        metrics = base["visionkit"]["metrics"]
        del base
        if not all(part.fitted for part in _parts(task).values()):
            logger.info("fine-tuning is over; %s follow on %s", " and ".join(_parts(task)), paths[-1])
            data: VisionData = trainer.datamodule  # type: ignore[attr-defined]
            self._fit(task, collect(task, data, self.folder, trainer))
            measured = _measured(task, data, trainer)
            metrics = {**metrics, **measured}
            if measured:
                for log in trainer.loggers:
                    log.log_metrics(measured, trainer.global_step)
        else:
            logger.info("no later epoch was better: the finished detector of %s stays", paths[-1])
        for path in paths:
            _write(path, task, metrics)

    def _fit(self, task: Any, regions: TrainingRegions) -> None:
        options = {key: value for key, value in task.network.spec.items() if key != "backbone"}
        key = digest(regions.key, str(sorted(options.items())).encode()).hex()
        for name, part in _parts(task).items():
            path = self.folder / f"{name}-{key}.pt"
            if path.is_file():
                logger.info("%s: taken from %s", name, path)
                fitted = read_tensors(path)
            else:
                fitted = dict(
                    zip(("weight", "bias"), fitting_stages.get(name)().fit(regions, task.network), strict=True)
                )
                with atomic_write(path) as file:
                    torch.save(fitted, file)
            part.fit(fitted["weight"], fitted["bias"])


def _parts(task: Any) -> dict[str, Any]:
    """The parts of a task's network that a later stage fits, by its name and in their order."""
    return dict(task.network.fitted_layers.items()) if isinstance(task.network, DetectionModel) else {}


def _holds_all(path: Path, names: list[str]) -> bool:
    state = read_checkpoint(path)["state_dict"]
    return all(bool(state[f"pipeline.network._fitted_layers.{name}.fitted"]) for name in names)


@torch.no_grad()
def _measured(task: Any, data: VisionData, trainer: Trainer) -> dict[str, float]:
    """The metrics of `val`, of the same images and one look at each as after an epoch; without validation none."""
    limit = trainer.limit_val_batches
    if "val" not in data.splits or not limit:
        return {}
    options = task.pipeline.inference_options
    task.pipeline.set_inference(dataclasses.replace(options, tta_scales=[1.0], flip=False))
    loader = data.val_dataloader()
    for batch in islice(loader, limit if isinstance(limit, int) else int(limit * len(loader))):
        batch = task.transfer_batch_to_device(batch, task.device, 0)
        with trainer.precision_plugin.forward_context():
            predictions = task.pipeline(batch.images, batch.targets)
        task.metric.update(predictions, batch.targets)
    task.results = task.metric.compute()
    task.metric.reset()
    task.pipeline.set_inference(options)
    return {f"val/{name}": value for name, value in task.results.defined().items()}


def _write(path: Path, task: Any, metrics: dict[str, float]) -> None:
    """Put the finished network into a checkpoint; the state of its training stays."""
    content = read_checkpoint(path)
    state = {name: values.cpu() for name, values in task.state_dict().items()}
    # Of a run with a moving average, what learns goes on from this network, too, not only its average.
    content.update(dict.fromkeys({"state_dict", "current_model_state"} & content.keys(), state))
    content["visionkit"] = {**content["visionkit"], "metrics": metrics}
    with atomic_write(path) as file:
        torch.save(content, file)
