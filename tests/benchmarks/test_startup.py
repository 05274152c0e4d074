"""Start-up time of the command line, compared with an empty interpreter."""

import os
import resource
import shutil
import statistics
import subprocess
import sys

import pytest
from PIL import Image

from tests.helpers.real_data import REPOSITORY
from tests.helpers.small_classifier import small_classification
from tests.helpers.small_trainer import small_trainer

ROUNDS = 9
NOTHING = ["-c", "pass"]
LIMIT = 0.3
"""Seconds of a core on top of those of an interpreter that does nothing."""
MORE_MODELS = 30
MORE_LIMIT = 0.04
"""Seconds that so many further models may add."""

LOAD_LIMIT, PREDICT_LIMIT = 1.25, 1.3
"""Seconds of a core against those of `import torchvision`."""
LOAD_ROUNDS = 5

MISTYPED = ["fit", "faster_rcnn_resnet50", "sede=1"]


def seconds(words, folder=REPOSITORY):
    """Return the CPU seconds of a command; `folder` contains the package."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    subprocess.run([sys.executable, *words], cwd=folder, env=environment, capture_output=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


@pytest.mark.benchmark
@pytest.mark.parametrize(
    "words",
    [["--help"], ["list"], ["list", "recipes"], ["fit", "faster_rcnn_resnet50", "--dry-rn"], MISTYPED],
    ids=" ".join,
)
def test_the_command_answers_at_once(words, capsys):
    pairs = [(seconds(NOTHING), seconds(["-m", "visionkit", *words])) for _ in range(ROUNDS)]
    nothing, command = (statistics.median(times) for times in zip(*pairs, strict=True))
    with capsys.disabled():
        print(f"\nvisionkit {' '.join(words)}: {command:.3f} s, python -c pass: {nothing:.3f} s")
    assert command - nothing < LIMIT


@pytest.mark.benchmark
@pytest.mark.parametrize("words", [["list", "models"], MISTYPED], ids=" ".join)
def test_many_more_models_cost_next_to_nothing(words, tmp_path, capsys):
    few, many = tmp_path / "few", tmp_path / "many"
    for folder in (few, many):
        for part in ("recipes", "data"):
            shutil.copytree(REPOSITORY / part, folder / part)
        shutil.copytree(REPOSITORY / "visionkit", folder / "visionkit", ignore=shutil.ignore_patterns("__pycache__"))
    models = many / "visionkit" / "models" / "detection"
    text = (models / "faster_rcnn.py").read_text()
    for number in range(MORE_MODELS):
        (models / f"more_{number}.py").write_text(text.replace('("faster_rcnn")', f'("more_{number}")'))
    listed = subprocess.run(
        [sys.executable, "-m", "visionkit", "list", "models"], cwd=many, capture_output=True, text=True, check=True
    )
    assert listed.stdout.count("  more_") == MORE_MODELS
    command = ["-m", "visionkit", *words]
    seconds(command, few), seconds(command, many)
    pairs = [(seconds(command, few), seconds(command, many)) for _ in range(ROUNDS)]
    added = statistics.median(more - less for less, more in pairs)
    with capsys.disabled():
        print(f"\nvisionkit {' '.join(words)}: {MORE_MODELS} more models add {added:.3f} s")
    assert added < MORE_LIMIT


@pytest.mark.benchmark
def test_loading_and_predicting_cost_little_more_than_torchvision(tmp_path, capsys):
    """The checkpoint is small, so that start-up time dominates."""
    checkpoint, image = tmp_path / "best.ckpt", tmp_path / "image.png"
    task = small_classification(["cat", "dog"])
    trainer = small_trainer()
    trainer.strategy.connect(task)
    trainer.save_checkpoint(checkpoint)
    Image.new("RGB", (48, 48)).save(image)
    commands = {
        "import torchvision": ["-c", "import torchvision"],
        "vk.load": ["-c", f"import visionkit as vk; vk.load({str(checkpoint)!r})"],
        "visionkit predict": [
            "-m",
            "visionkit",
            "predict",
            str(checkpoint),
            str(image),
            "--output",
            str(tmp_path / "out"),
        ],
    }
    for words in commands.values():
        subprocess.run([sys.executable, *words], cwd=REPOSITORY, check=True, capture_output=True)
    rounds = [{name: seconds(words) for name, words in commands.items()} for _ in range(LOAD_ROUNDS)]
    load, predict = (
        statistics.median(times[name] / times["import torchvision"] for times in rounds)
        for name in ("vk.load", "visionkit predict")
    )
    with capsys.disabled():
        print(f"\nimport torchvision: {statistics.median(times['import torchvision'] for times in rounds):.2f} s")
        print(f"vk.load {load:.2f} times, visionkit predict {predict:.2f} times")
    assert load < LOAD_LIMIT
    assert predict < PREDICT_LIMIT
