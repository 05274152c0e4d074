import pytest

from visionkit.models.classification import heads


@pytest.fixture
def narrow(monkeypatch):
    """fc6 and fc7 with 8 units: with theirs, VGG and AlexNet have up to 120 million weights there."""
    monkeypatch.setattr(heads, "FULL_WIDTH", 8)
