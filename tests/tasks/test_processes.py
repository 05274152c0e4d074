"""Two processes on one machine: nothing but `trainer.devices` and `trainer.strategy` changes."""

import json
import subprocess
import sys

SCRIPT = """
import json, sys, torch
from tests.tasks.small import small_data, small_task, small_trainer
torch.set_num_threads(1)
devices = int(sys.argv[1])
data = small_data(train=4, val=7)
torch.manual_seed(0)
task = small_task(data.class_names)
strategy = "ddp" if devices > 1 else "auto"
trainer = small_trainer(devices=devices, strategy=strategy)
trainer.validate(task, data, verbose=False)
figures = {name: value for name, value in task.results.items() if value == value}
if devices > 1:
    trainer.fit(task, data)
if trainer.is_global_zero:
    print("FIGURES", json.dumps(figures))
"""


def figures(devices, folder):
    script = folder / "run.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, str(script), str(devices)],
        capture_output=True,
        text=True,
        env={**__import__("os").environ, "PYTHONPATH": ".", "CUDA_VISIBLE_DEVICES": ""},
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    line = next(line for line in done.stdout.splitlines() if line.startswith("FIGURES"))
    return json.loads(line.removeprefix("FIGURES "))


def test_seven_pictures_score_alike_in_one_and_two_processes(tmp_path):
    alone, together = figures(1, tmp_path), figures(2, tmp_path)
    assert alone.keys() == together.keys()
    assert "AP" in alone
    for name, value in alone.items():
        assert abs(value - together[name]) < 1e-6, name
