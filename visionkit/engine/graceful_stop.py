"""Stopping a training run on a signal, with its state saved."""

import logging
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, cast

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch.distributed import ProcessGroup

from visionkit.errors import StoppedError

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
"""Signals of Ctrl-C, of schedulers such as SLURM and Kubernetes, and of a closed terminal. Windows has no SIGHUP."""

logger = logging.getLogger("visionkit")

Handler = Callable[[int, FrameType | None], Any] | int | None


class GracefulStop(Callback):
    """Callback that ends the training after the current step when a process receives SIGINT, SIGTERM or SIGHUP.

    Lightning can stop on SIGTERM after a step, with a state that a resumed run continues exactly. This callback does
    the same for the other signals. Lightning would leave out the rest of a validation; here it is finished first. All
    processes of a distributed run stop after the same step, whichever of them gets the signal. A second signal stops
    at once, without saving.

    Attributes:
        received: the first signal; None if there was none.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._replaced: dict[int, Handler] = {}
        self._processes: ProcessGroup | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Install the handlers. Python allows this only in the main thread."""
        if trainer.world_size > 1 and torch.distributed.is_initialized():
            # on the CPU, so that no GPU is waited for
            self._processes = cast(ProcessGroup, torch.distributed.new_group(backend="gloo"))
        if threading.current_thread() is threading.main_thread():
            self._replaced = {number: signal.getsignal(number) for number in SIGNALS}
            for number in SIGNALS:
                signal.signal(number, self._handle)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop after this step, if no validation follows it."""
        validated = trainer.val_check_batch and (batch_idx + 1) % trainer.val_check_batch == 0
        if not trainer.is_last_batch and not validated:
            self._stop(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop after this validation."""
        self._stop(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop after this epoch."""
        self._stop(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restore the handlers."""
        self._restore()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Restore the handlers."""
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._replaced.items():
            signal.signal(number, handler)
        self._replaced = {}

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            self._restore()
            raise StoppedError(number, f"stopped by a second signal ({_name(number)}): the last steps were not saved")
        self.received = number
        logger.warning(
            "%s received: the training stops after this step, and after the validation if one follows", _name(number)
        )

    def _stop(self, trainer: Trainer) -> None:
        """Let Lightning stop if a process received a signal; every process must call this."""
        number = torch.tensor(self.received or 0)
        if self._processes is not None:
            torch.distributed.all_reduce(number, torch.distributed.ReduceOp.MAX, self._processes)
        if number:
            self.received = int(number)
            # Lightning's handler would also send SIGTERM to the other processes, which stop by themselves.
            trainer._signal_connector.received_sigterm = True


@contextmanager
def report_stop(callbacks: Iterable[Callback], checkpoint: Path) -> Iterator[None]:
    """Replace the exception with which Lightning stops on a signal by one that names the saved checkpoint.

    Raises:
        StoppedError: the training was stopped by a signal.
    """
    try:
        yield
    except SIGTERMException as error:
        signals = [callback.received for callback in callbacks if isinstance(callback, GracefulStop)]
        received = next((number for number in signals if number is not None), int(signal.SIGTERM))
        raise StoppedError(
            received,
            f"stopped by {_name(received)}; the state was saved in {checkpoint}\n"
            "continue with the same command and --resume",
        ) from error


def _name(number: int) -> str:
    return signal.Signals(number).name
