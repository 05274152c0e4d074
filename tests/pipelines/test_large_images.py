"""An image of 10,000 x 10,000 pixels: labeled, drawn and written in bounded memory."""

import os
import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys
import numpy as np, torch
from tests.helpers.small_segmenter import SmallSegmenter, small_segmentation
from visionkit.report.draw import draw
from visionkit.pipelines import SegmentationInferenceOptions

torch.set_num_threads(1)
side = int(sys.argv[1])
names = [f"class {label}" for label in range(12)]
options = SegmentationInferenceOptions(tile=512, overlap=64)
task = small_segmentation(names, SmallSegmenter(12, width=4), inference=options)
image = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
found = task.pipeline.eval().predict(image)[0]
assert found.mask.shape == (side, side)
assert sum(found.shares) > 0.999
assert draw(found, image).shape[1] == side
found.images()["masks"].save(sys.argv[2])
print("PEAK", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
"""


@pytest.mark.slow
def test_memory_stays_below_four_gigabytes(tmp_path):
    """Probabilities of 12 classes for the whole image would take 4.5 GiB alone."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, "10000", str(tmp_path / "mask.png")],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": ".", "CUDA_VISIBLE_DEVICES": ""},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    peak = float(done.stdout.split("PEAK")[1])
    print(f"\npeak {peak:.2f} GiB")
    assert peak < 4
