"""Files that are no weights."""

import io
import zipfile
from pathlib import Path

import pytest
import torch

from visionkit.backbones.weights_file import read_tensors
from visionkit.errors import CheckpointError


def with_pickle(path, data):
    """Write an archive as `torch.save` does, with another pickle in it."""
    saved = io.BytesIO()
    torch.save({"a": torch.ones(2)}, saved)
    with zipfile.ZipFile(saved) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as target:
        for name in source.namelist():
            target.writestr(name, data if name.endswith("data.pkl") else source.read(name))
    return path


BROKEN = {
    "cut": b"\x80\x02X\x05",
    "empty": b"",
    "no list": b"\x80\x02K\x01a.",
}


@pytest.mark.parametrize("kind", BROKEN)
def test_whatever_a_broken_pickle_raises_is_a_checkpoint_error(kind, tmp_path):
    with pytest.raises(CheckpointError, match="cannot be read: it is truncated, or holds more than plain tensors"):
        read_tensors(with_pickle(tmp_path / "a.pt", BROKEN[kind]))


def test_the_colors_of_torch_are_not_in_the_message(tmp_path):
    path = with_pickle(tmp_path / "a.pt", b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(CheckpointError, match="Weights only load failed") as error:
        read_tensors(path)
    assert "[1m" not in str(error.value)


def test_a_name_that_no_file_can_have_is_missing():
    with pytest.raises(CheckpointError, match="there is no weights file"):
        read_tensors(Path("x" * 300))
