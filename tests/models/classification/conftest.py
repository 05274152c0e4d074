import pytest

from visionkit.models.classification import heads


@pytest.fixture
def narrow(monkeypatch):
    """Build fc6 and fc7 with 8 units instead of up to 120 million weights."""
    monkeypatch.setattr(heads, "FULL_WIDTH", 8)
