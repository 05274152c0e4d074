import pytest
import torch

from visionkit.models.classification import heads


@pytest.fixture(autouse=True, scope="package")
def one_thread():
    """Tiny pictures are computed faster by one thread than by several that wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def narrow(monkeypatch):
    """fc6 and fc7 with 8 units: with theirs, VGG and AlexNet have up to 120 million weights there."""
    monkeypatch.setattr(heads, "FULL_WIDTH", 8)
