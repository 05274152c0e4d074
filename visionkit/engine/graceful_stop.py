"""Stopping a training run on a signal, with its state saved."""

import logging
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from visionkit.errors import StoppedError

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
"""Signals of Ctrl-C, of schedulers such as SLURM and Kubernetes, and of a closed terminal. Windows has no SIGHUP."""

logger = logging.getLogger("visionkit")

Handler = Callable[[int, FrameType | None], Any] | int | None


class GracefulStop(Callback):
    """Callback that ends the training after the current step when the process receives SIGINT, SIGTERM or SIGHUP.

    Lightning stops on SIGTERM after a step, with a state that a resumed run continues exactly. This callback does the
    same for the other signals. The last step of an epoch is followed by its validation first. A second signal stops
    at once, without saving.

    Attributes:
        received: the first signal; None if there was none.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._replaced: dict[int, Handler] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Install the handlers. Python allows this only in the main thread."""
        if threading.current_thread() is threading.main_thread():
            self._replaced = {number: signal.getsignal(number) for number in SIGNALS}
            for number in SIGNALS:
                signal.signal(number, self._handle)

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
        logger.warning("%s received: the training stops after this step", _name(number))
        of_lightning = self._replaced.get(signal.SIGTERM)
        if callable(of_lightning):
            of_lightning(signal.SIGTERM, frame)


def _name(number: int) -> str:
    return signal.Signals(number).name
