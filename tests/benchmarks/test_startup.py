"""What the command line costs before anything is done: against an interpreter that does nothing."""

import statistics
import subprocess
import sys
import time

import pytest

ROUNDS = 7
NOTHING = ["-c", "pass"]
LIMIT = 0.3
"""Seconds on top of those of an interpreter that does nothing."""


def seconds(words):
    start = time.perf_counter()
    subprocess.run([sys.executable, *words], capture_output=True, check=False)
    return time.perf_counter() - start


@pytest.mark.benchmark
@pytest.mark.parametrize(
    "words",
    [["--help"], ["list"], ["fit", "faster_rcnn_resnet50", "--dry-rn"], ["fit", "faster_rcnn_resnet50", "sede=1"]],
    ids=" ".join,
)
def test_the_command_answers_at_once(words, capsys):
    pairs = [(seconds(NOTHING), seconds(["-m", "visionkit", *words])) for _ in range(ROUNDS)]
    nothing, command = (statistics.median(times) for times in zip(*pairs, strict=True))
    with capsys.disabled():
        print(f"\nvisionkit {' '.join(words)}: {command:.3f} s, python -c pass: {nothing:.3f} s")
    assert command - nothing < LIMIT
