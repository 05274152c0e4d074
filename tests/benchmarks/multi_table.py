"""Joint training of several heads beside each head alone, with the three recipes for several heads.

    python -m tests.benchmarks.multi_table OUT SETTING [--seeds 0,1,2] [--systems single,fixed] [--core K]
    python -m tests.benchmarks.multi_table OUT SETTING --cost | --table

SETTING is shapes, ccp or bccd_camvid; $VISIONKIT_DATA holds the datasets, $VISIONKIT_WEIGHTS the weights. The systems
are `single` (each head alone, with as many steps and images per step as it gets in the joint run), `fixed`,
`uncertainty`, `gradnorm`, `pcgrad` (the joint model), and `long` (fixed, for the steps that take the time of all single
runs together). Every run is a process of its own on core K with one thread. OUT/<setting>.jsonl gets a line for each
run: metrics of last.ckpt and CPU seconds of training. Finished runs are skipped. `--cost` compares the time per image
and the parameters of the joint model with those of the single ones.
"""

import argparse
import json
import os
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

import visionkit as vk
from tests.benchmarks.first_try.runs import COMMANDS, run_pinned
from tests.benchmarks.schedules import processor_seconds
from visionkit.cli.config.compose import compose

JOINT = ("fixed", "uncertainty", "gradnorm", "pcgrad")
QUIET = ["trainer.enable_progress_bar=false", "trainer.enable_model_summary=false", "data.num_workers=0"]
LIMIT = 7200
COST_IMAGES, COST_ROUNDS = 16, 5


@dataclass(frozen=True)
class Setting:
    """A recipe for several heads, and how the heads are trained alone.

    Attributes:
        recipe: name of the recipe.
        roots: folder below $VISIONKIT_DATA of each card with files.
        words: further overrides.
        split: the split that is scored.
        metrics: metric of each head.
        batch: images per step of a head alone: as many as it gets in a joint step on average.
    """

    recipe: str
    roots: dict[str, str]
    words: tuple[str, ...]
    split: str
    metrics: dict[str, str]
    batch: int


SETTINGS = {
    "shapes": Setting(
        "multi_shapes_resnet18",
        {},
        ("trainer.max_epochs=6",),
        "test",
        {"objects": "AP", "regions": "mIoU", "tags": "mAP"},
        8,
    ),
    "ccp": Setting(
        "multi_ccp_efficientnet_lite0",
        dict.fromkeys(("ccp_boxes", "ccp_masks", "ccp_tags"), "ccp-multitask"),
        (),
        "val",
        {"objects": "AP50", "regions": "mIoU", "tags": "mAP"},
        8,
    ),
    "bccd_camvid": Setting(
        "multi_bccd_camvid_efficientnet_lite0",
        {"bccd": "bccd", "camvid": "camvid"},
        (),
        "test",
        {"cells": "AP50", "streets": "mIoU"},
        4,
    ),
}


def main() -> None:
    """Measure, or print a table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.multi_table")
    parser.add_argument("out", type=Path)
    parser.add_argument("setting", choices=SETTINGS)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--systems", default=",".join(["single", *JOINT, "long"]))
    parser.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)))
    parser.add_argument("--cost", action="store_true")
    parser.add_argument("--table", action="store_true")
    given = parser.parse_args()
    out = given.out.resolve()
    if given.table:
        print(table(given.setting, read(out, given.setting)))
    elif given.cost:
        print(cost(given.setting, out))
    else:
        for seed in map(int, given.seeds.split(",")):
            for system in given.systems.split(","):
                measure_system(given.setting, system, seed, out, given.core)


def measure_system(name: str, system: str, seed: int, out: Path, core: int) -> None:
    """Measure the runs of a system with one seed."""
    setting = SETTINGS[name]
    if system == "single":
        steps = record_of(name, "fixed", seed, out, core)["steps"]
        for head in setting.metrics:
            words = [f"trainer.max_steps={steps}", "trainer.max_epochs=-1", f"data.batch_size={setting.batch}"]
            record_of(name, f"single-{head}", seed, out, core, [*words, f"optimizer.base_batch_size={setting.batch}"])
    elif system == "long":
        joint = record_of(name, "fixed", seed, out, core)
        alone = [record_of(name, f"single-{head}", seed, out, core)["cpu_seconds"] for head in setting.metrics]
        steps = round(joint["steps"] * sum(alone) / joint["cpu_seconds"])
        record_of(name, "long", seed, out, core, [f"trainer.max_steps={steps}", "trainer.max_epochs=-1"])
    else:
        record_of(name, system, seed, out, core, [f"balancing.name={system}"])


def record_of(name: str, system: str, seed: int, out: Path, core: int, words: list[str] | None = None) -> Any:
    """Return the record of a run, which is made if it does not exist."""
    found = [row for row in read(out, name) if (row["system"], row["seed"]) == (system, seed)]
    if found:
        return found[0]
    folder = out / name / f"{system}-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    recipe = write_recipe(SETTINGS[name], system.removeprefix("single-"), folder)
    fit = ["visionkit", "fit", str(recipe), *QUIET, f"seed={seed}", *(words or [])]
    spent = processor_seconds()
    run_pinned(fit, folder, "fit.log", core, LIMIT)
    seconds = processor_seconds() - spent
    checkpoint = next(folder.glob("runs/recipe/*/last.ckpt"))
    score = ["visionkit", COMMANDS[SETTINGS[name].split], str(checkpoint), "--output", "scores", "data.num_workers=0"]
    run_pinned(score, folder, "score.log", core, LIMIT)
    metrics = json.loads((folder / "scores" / "metrics.json").read_text())["overall"]
    steps = steps_of(checkpoint)
    record = {"system": system, "seed": seed, "steps": steps, "cpu_seconds": round(seconds, 1), "metrics": metrics}
    with (out / f"{name}.jsonl").open("a") as file:
        file.write(json.dumps(record) + "\n")
    print(name, system, seed, f"{seconds:.0f} s", {key: metrics.get(key) for key in headline(name)}, flush=True)
    return record


def write_recipe(setting: Setting, head: str, folder: Path) -> Path:
    """Write the composed recipe, with only one head if `head` names one."""
    data = Path(os.environ["VISIONKIT_DATA"])
    roots = [f"data.cards.{card}.root={data / root}" for card, root in setting.roots.items()]
    recipe = compose([setting.recipe, *roots, *setting.words]).values
    if head in setting.metrics:
        recipe["model"]["heads"] = {head: recipe["model"]["heads"][head]}
        recipe["heads"] = {head: recipe["heads"][head]}
        cards = {name: card for name, card in recipe["data"]["cards"].items() if head in card["heads"]}
        recipe["data"]["cards"] = {name: {**card, "heads": [head]} for name, card in cards.items()}
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe, sort_keys=False))
    return path


def steps_of(checkpoint: Path) -> int:
    """Return the number of optimizer steps of a run."""
    import torch

    return int(torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)["global_step"])


def read(out: Path, name: str) -> list[dict[str, Any]]:
    """Return the records of a setting."""
    path = out / f"{name}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def headline(name: str) -> list[str]:
    """Return the metric of each head, as it is called in metrics.json."""
    return [f"{head}/{metric}" for head, metric in SETTINGS[name].metrics.items()]


def table(name: str, records: list[dict[str, Any]]) -> str:
    """Return a Markdown table: mean and standard deviation over the seeds of each head's metric, in percent."""
    metrics = headline(name)
    lines = [f"| {name} | {' | '.join(metrics)} | seeds | CPU minutes |", "|" + "---|" * (len(metrics) + 3)]
    for system in ("single", *JOINT, "long"):
        own = [row for row in records if row["system"].partition("-")[0] == system]
        values = [[100 * row["metrics"][metric] for row in own if metric in row["metrics"]] for metric in metrics]
        seeds = {row["seed"] for row in own}
        minutes = sum(row["cpu_seconds"] for row in own) / 60 / max(len(seeds), 1)
        lines.append(f"| {system} | {' | '.join(map(spread, values))} | {len(seeds)} | {minutes:.1f} |")
    return "\n".join(lines)


def spread(values: list[float]) -> str:
    """Return mean and standard deviation."""
    if len(values) < 2:
        return f"{values[0]:.1f}" if values else "-"
    return f"{statistics.mean(values):.1f} ± {statistics.stdev(values):.1f}"


def cost(name: str, out: Path) -> str:
    """Return the parameters, and the CPU seconds per image of the joint model and of the single ones, interleaved."""
    systems = ["fixed", *(f"single-{head}" for head in SETTINGS[name].metrics)]
    checkpoints = {system: next((out / name).glob(f"{system}-0/runs/recipe/*/last.ckpt")) for system in systems}
    models = {system: vk.load(path, device="cpu") for system, path in checkpoints.items()}
    random, (height, width) = np.random.default_rng(0), (360, 480)
    images = [random.integers(0, 256, (height, width, 3), np.uint8) for _ in range(COST_IMAGES)]
    times: dict[str, list[float]] = {system: [] for system in models}
    for system in [*models] * (COST_ROUNDS + 1):
        started = time.process_time()
        models[system].predict(images)
        times[system].append((time.process_time() - started) / COST_IMAGES)
    joint, *alone = (np.array(values[1:]) for values in times.values())  # the first round warms up
    parameters = {system: sum(p.numel() for p in model.parameters()) for system, model in models.items()}
    ratios = joint / np.sum(alone, axis=0)
    alone_ms = ", ".join(f"{1e3 * part.mean():.0f}" for part in alone)
    of_alone = sum(parameters.values()) - parameters["fixed"]
    return (
        f"{name}: {1e3 * joint.mean():.0f} ms per image beside {alone_ms} alone, {ratios.mean():.2f} ± "
        f"{ratios.std():.2f} of their sum; {parameters['fixed']:,} parameters beside {of_alone:,}"
    )


if __name__ == "__main__":
    main()
