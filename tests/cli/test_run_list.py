"""`visionkit runs`: statuses, broken files, filters, and that it needs no torch."""

import json
import subprocess
import sys
import time

import pytest
import yaml

from visionkit.cli.main import main
from visionkit.cli.run_list import read_run
from visionkit.engine.run_lock import run_lock

CSV = "epoch,step,train/loss,val/AP\n0,3,2.5,\n0,3,,0.25\n1,7,,0.5\n2,11,,0.4\n"


def make_run(root, name="unet-mine", number=1, sessions=None, **facts):
    folder = root / name / str(number)
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text("task: detection\n")
    (folder / "metrics.csv").write_text(CSV)
    if sessions is not None:
        recipe, *cards = name.split("-")
        record = {"recipe": recipe, "cards": cards, "metric": "val/AP", **facts, "sessions": sessions}
        (folder / "run.yaml").write_text(yaml.safe_dump(record))
    return folder


def session(day=1, **values):
    return {"started": f"2026-05-0{day}T10:00:00+00:00", **values}


def test_a_finished_run(tmp_path):
    folder = make_run(
        tmp_path, sessions=[session(seconds=60, status="interrupted"), session(seconds=15, status="finished")]
    )
    entry = read_run(folder)
    assert (entry.recipe, entry.cards, entry.status) == ("unet", ["mine"], "finished")
    assert (entry.seconds, entry.epochs, entry.metric, entry.best) == (75, 3, "val/AP", 0.5)
    assert entry.started == "2026-05-01T10:00:00+00:00"


def test_a_killed_run_is_interrupted_and_a_locked_one_running(tmp_path):
    folder = make_run(tmp_path, sessions=[session()])
    assert read_run(folder).status == "interrupted"
    script = f"""
from pathlib import Path
from visionkit.cli.run_list import read_run
print(read_run(Path({str(folder)!r})).status)
"""
    with run_lock(folder):
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "running"


@pytest.mark.parametrize("finished", [False, True])
def test_a_run_of_an_earlier_version_has_what_its_files_tell(finished, tmp_path):
    folder = make_run(tmp_path, name="unet")
    if finished:
        (folder / "finished.yaml").write_text("max_epochs: 3\n")
    entry = read_run(folder)
    assert (entry.recipe, entry.cards, entry.best, entry.seconds) == ("unet", None, None, None)
    assert (entry.epochs, entry.status) == (3, "finished" if finished else "interrupted")
    assert entry.started is not None


@pytest.mark.parametrize(
    ("file", "content"), [("run.yaml", b"{broken"), ("run.yaml", b"\xff\xfe"), ("metrics.csv", b"\xff\xfe\x00")]
)
def test_a_broken_file_is_reported_and_the_run_is_listed(file, content, tmp_path, capsys):
    folder = make_run(tmp_path, sessions=[session(status="finished", seconds=1)])
    (folder / file).write_bytes(content)
    assert main(["runs", str(tmp_path), "--json"]) == 0
    printed = capsys.readouterr()
    assert len(json.loads(printed.out)) == 1
    assert "cannot be read" in printed.err


@pytest.mark.parametrize(
    "change",
    [
        {"sessions": 3},
        {"sessions": [{"started": "yesterday"}]},
        {"sessions": [{"started": None, "seconds": [1]}]},
        {"metric": ["val/AP"]},
        {"cards": [1, 2]},
        {"recipe": {"name": "unet"}},
    ],
    ids=str,
)
@pytest.mark.parametrize("words", [["--json"], ["--card", "mine"], []])
def test_values_of_another_type_are_not_known(change, words, tmp_path):
    folder = make_run(tmp_path, sessions=[session(status="finished", seconds=1)])
    record = yaml.safe_load((folder / "run.yaml").read_text())
    (folder / "run.yaml").write_text(yaml.safe_dump({**record, **change}))
    assert main(["runs", str(tmp_path), *words]) == 0


def test_a_csv_with_an_endless_cell_is_reported(tmp_path, capsys):
    folder = make_run(tmp_path)
    (folder / "metrics.csv").write_text("epoch,val/AP\n0," + "1" * 200_000)
    assert main(["runs", str(tmp_path)]) == 0
    assert "cannot be read" in capsys.readouterr().err


def test_filters_and_order(tmp_path, capsys):
    make_run(tmp_path, "unet-mine", sessions=[session(1, seconds=5, status="finished")])
    make_run(tmp_path, "fcn-mine", sessions=[session(2, seconds=9, status="failed")])
    make_run(tmp_path, "unet", sessions=[session(3, seconds=7, status="finished")])

    def listed(*words):
        assert main(["runs", str(tmp_path), "--json", *words]) == 0
        return [entry["run"].split("/")[-2] for entry in json.loads(capsys.readouterr().out)]

    assert listed() == ["unet", "fcn-mine", "unet-mine"]
    assert listed("--sort", "duration") == ["fcn-mine", "unet", "unet-mine"]
    assert listed("--card", "min") == ["fcn-mine", "unet-mine"]
    assert listed("--recipe", "unet", "--status", "finished") == ["unet", "unet-mine"]
    assert main(["runs", str(tmp_path)]) == 0
    table = capsys.readouterr().out
    assert "AP 0.5000" in table.replace("\n", " ")
    assert "built in" in table or "built" in table


def test_no_runs_and_no_folder(tmp_path, capsys):
    assert main(["runs", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"no runs in {tmp_path}\n"
    assert main(["runs", str(tmp_path / "missing")]) == 2
    assert "there is no folder" in capsys.readouterr().err


def test_torch_is_not_imported(tmp_path):
    make_run(tmp_path, sessions=[session(status="finished", seconds=1)])
    script = f"""
import sys
import time
from visionkit.cli.main import main
main(["runs", {str(tmp_path)!r}])
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)


LOOK = """
import sys
import time
from pathlib import Path
from visionkit.cli.run_list import read_run
print("ready", flush=True)
while True:
    read_run(Path(sys.argv[1]))
"""


def test_a_list_of_runs_neither_stops_a_start_nor_takes_another_list_for_a_run(tmp_path):
    folder = make_run(tmp_path, sessions=[session()])
    with run_lock(folder):
        pass
    with subprocess.Popen([sys.executable, "-c", LOOK, folder], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            statuses = set()
            end = time.monotonic() + 2
            while time.monotonic() < end:
                statuses.add(read_run(folder).status)
                with run_lock(folder):
                    pass
        finally:
            process.kill()
    assert statuses == {"interrupted"}
