import logging
import os
import socket

import pytest
import torch
from hypothesis import settings

settings.register_profile("no deadline", deadline=None)  # a busy machine takes its time
settings.load_profile("no deadline")
os.environ["VISIONKIT_OFFLINE"] = "1"  # no test reaches for weights
torch.set_num_threads(1)  # pytest runs a process on each core


@pytest.fixture(autouse=True)
def quiet_logger():
    """Undo the changes of a command-line run to visionkit's logger, so that caplog gets its messages."""
    own = logging.getLogger("visionkit")
    handlers, level, propagate = list(own.handlers), own.level, own.propagate
    own.propagate = True
    yield
    own.handlers, own.propagate = handlers, propagate
    own.setLevel(level)


@pytest.fixture
def free_port():
    """A port of this machine with a few free ones behind it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return min(probe.getsockname()[1], 65000)
