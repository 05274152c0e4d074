import os
import subprocess
import sys

import pytest

from visionkit.cli.checkpoint_file import check_checkpoint_files
from visionkit.errors import CheckpointError


def test_a_checkpoint_is_an_archive(tmp_path):
    path = tmp_path / "a.ckpt"
    path.write_bytes(b"PK\x03\x04 and more")
    check_checkpoint_files([str(path)])


def test_files_that_are_no_checkpoint_are_refused(tmp_path):
    (tmp_path / "README.md").write_text("# Read me")
    (tmp_path / "empty.ckpt").touch()
    os.mkfifo(tmp_path / "fifo")
    messages = {"README.md": "is no checkpoint", "empty.ckpt": "is empty", "fifo": "is not a file", "": "not a file"}
    for name, message in {**messages, "gone.ckpt": "there is no checkpoint"}.items():
        with pytest.raises(CheckpointError, match=message):
            check_checkpoint_files([str(tmp_path / name)])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["test", "README.md"], "checkpoint"),
        (["validate", "README.md"], "checkpoint"),
        (["predict", "README.md", "README.md"], "checkpoint"),
        (["predict", "a.ckpt", "gone.png"], "the file or folder gone.png does not exist"),
        (["fit", "faster_rcnn_resnet50", "--resume", "README.md"], "checkpoint"),
        (["fit", "faster_rcnn_resnet50", "--resume", "gone.ckpt"], "there is no checkpoint gone.ckpt"),
        (["test", "gone.ckpt"], "checkpoint"),
    ],
)
def test_they_are_refused_without_torch(words, message, tmp_path):
    (tmp_path / "README.md").write_text("# Read me")
    (tmp_path / "a.ckpt").write_bytes(b"PK\x03\x04 and more")
    code = "import sys; from visionkit.cli.main import main; status = main(sys.argv[1:]); "
    code += "assert 'torch' not in sys.modules; sys.exit(status)"
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
