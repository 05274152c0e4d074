"""Folders in one or several formats, damaged, whose format is recognized by `visionkit data`."""

from tests.robustness.boundary import command
from tests.robustness.cases import Kind
from tests.robustness.cases.cards import write_data
from tests.robustness.cases.export_damage import damaged, damaged_folder
from tests.robustness.cases.exports import EXPORTS, write_export


def prepare(rng, folder):
    data = folder / "d"
    data.mkdir()
    for name in rng.sample([*EXPORTS], rng.choice([0, 1, 1, 1, 1, 2])):
        export = write_export(name, data)
        if rng.random() < 0.4:
            file = rng.choice([*export.files])
            (data / file).write_bytes(damaged(rng, file, export.files[file]))
    if not any(data.iterdir()) and rng.random() < 0.9:
        write_data(data)
    if rng.random() < 0.6:
        damaged_folder(rng, data)
    chosen = ["--format", rng.choice([*{export.format: 0 for export in EXPORTS.values()}, "folder", "coco", "x"])]
    action = rng.choice(["init", "init", "check"])
    return [action, "d", *(chosen if action == "init" and rng.random() < 0.3 else [])]


def run(*words):
    command(["data", *words])


KIND = Kind(prepare, run)
