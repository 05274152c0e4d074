"""`visionkit tune sweep`: trials of recipe values with the same budget, seed and data."""

import dataclasses
import logging
import shlex
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import yaml
from rich.console import Console

from visionkit.cli.config.merge import Layer
from visionkit.cli.logs import show_progress_messages
from visionkit.cli.tuning.checked_recipe import checked_recipe
from visionkit.cli.tuning.output import result_folder
from visionkit.cli.tuning.search_space import Dimension, parse_space, recipe_values
from visionkit.cli.tuning.short_run import task_and_data
from visionkit.cli.tuning.space_check import check_space
from visionkit.cli.tuning.study import JOURNAL, Study
from visionkit.cli.tuning.sweep_noise import compare_best
from visionkit.cli.tuning.sweep_report import best_row, print_table, write_files
from visionkit.cli.tuning.trial import TrialResult, TrialStoppedError, run_trial
from visionkit.data.io.atomic_write import write_text
from visionkit.engine.run_lock import run_lock
from visionkit.errors import ConfigError, StoppedError, VisionkitError

PLAN = "sweep.yaml"
"""Name of the file that says what the sweep is."""

logger = logging.getLogger("visionkit")


@dataclass
class SweepPlan:
    """What a sweep is.

    Attributes:
        words: recipe, cards and overrides of all trials.
        vary: the `--vary` options.
        trials: number of trials.
        minutes: time of each trial; None for a number of epochs.
        epochs: epochs of each trial; None for a time.
        monitor: name of the main metric.
        images: number of validation images.
        seed: seed of the recipe and of the order of the trials.
    """

    words: list[str]
    vary: list[str]
    trials: int
    minutes: float | None
    epochs: int | None
    monitor: str = ""
    images: int = 0
    seed: int = 0

    @property
    def budget(self) -> list[str]:
        """Words after `fit` for the length of a trial."""
        return [f"trainer.max_epochs={self.epochs}"] if self.minutes is None else ["--minutes", f"{self.minutes:g}"]


def start_sweep(plan: SweepPlan, recipe: Layer, space: Sequence[Dimension], *, name: str, output: str | None) -> int:
    """Check all values, and run the trials.

    Args:
        plan: what the sweep is.
        recipe: the composed recipe.
        space: the parsed `--vary` options.
        name: name of the recipe.
        output: folder of the sweep; None makes one below `tune/<name>/`.

    Raises:
        ConfigError: a value cannot be used, or there are no images to score on.
    """
    show_progress_messages()
    task, data = task_and_data(recipe.values)
    if "val" not in data.splits:
        raise ConfigError("a sweep compares metrics on val, which the data does not have: set data.holdout")
    images, monitor = len(data.dataset("val")), task.monitor
    del task, data
    check_space(plan.words, space)
    seed = int(recipe.values.get("seed", 0))
    folder = result_folder(name, "sweep", output)
    with run_lock(folder):
        study = Study(folder, space, seed)
        trials = study.plan(recipe_values(space, recipe.values), plan.trials, seed)
        plan = dataclasses.replace(plan, monitor=monitor, images=images, seed=seed, trials=trials)
        _write(plan, folder)
        return _run(plan, study, space, folder)


def resume_sweep(given: str, trials: int | None) -> int:
    """Continue a sweep in its folder, up to its number of trials or another one.

    Raises:
        ConfigError: the folder is not that of a sweep, or its recipe and cards are not found from here.
        VisionkitError: the sweep still runs.
    """
    show_progress_messages()
    folder = Path(given)
    if not (folder / PLAN).is_file() or not (folder / JOURNAL).is_file():
        raise ConfigError(f"{folder} is not the folder of a sweep: {PLAN} or {JOURNAL} is missing")
    with run_lock(folder):
        plan = SweepPlan(**yaml.safe_load((folder / PLAN).read_text(encoding="utf-8")))
        checked_recipe(plan.words)  # an error here, and not in every trial
        space = parse_space(plan.vary)
        study = Study(folder, space, plan.seed)
        study.repeat_interrupted()
        planned = study.plan(None, plan.trials if trials is None else trials, plan.seed)
        plan = dataclasses.replace(plan, trials=planned)
        _write(plan, folder)
        return _run(plan, study, space, folder)


def _write(plan: SweepPlan, folder: Path) -> None:
    write_text(folder / PLAN, yaml.safe_dump(dataclasses.asdict(plan), sort_keys=False, allow_unicode=True))


def _run(plan: SweepPlan, study: Study, space: Sequence[Dimension], folder: Path) -> int:
    """Run the trials that are left, and report all."""
    with _stopping(folder):
        while len(study.rows()) < plan.trials:
            number, values = study.ask()
            logger.info("trial %d (%d of %d): %s", number, len(study.rows()) + 1, plan.trials, " ".join(values))
            words = [*plan.words, *values, *plan.budget]
            result = run_trial(words, folder / f"trial-{number}", plan.monitor)
            study.tell(number, result)
            _log(number, result, plan.monitor)
            write_files(study.rows(), space, plan.monitor, folder)
    return _report(plan, study, space, folder)


def _log(number: int, result: TrialResult, monitor: str) -> None:
    if result.metric is None:
        logger.warning("trial %d failed after %.1f minutes: %s", number, result.minutes, result.error)
    else:
        logger.info("trial %d: %s %.4f after %.1f minutes", number, monitor, result.metric, result.minutes)


@contextmanager
def _stopping(folder: Path) -> Iterator[None]:
    """End the sweep on a signal. Its trial is stopped too, and is repeated when the sweep continues.

    Raises:
        StoppedError: a signal was received.
    """
    received: list[int] = [signal.SIGINT]

    def stop(number: int, frame: FrameType | None) -> None:
        received[0] = number
        raise TrialStoppedError

    numbers = (signal.SIGTERM, signal.SIGHUP) if threading.current_thread() is threading.main_thread() else ()
    replaced = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    except (KeyboardInterrupt, TrialStoppedError) as error:
        text = f"the sweep was stopped\ncontinue with: visionkit tune sweep --resume {shlex.quote(str(folder))}"
        raise StoppedError(received[0], text) from error
    finally:
        for number, handler in replaced.items():
            signal.signal(number, handler)


def _report(plan: SweepPlan, study: Study, space: Sequence[Dimension], folder: Path) -> int:
    """Print the table, the words of the best trial, and how sure it is.

    Raises:
        VisionkitError: all trials have failed.
    """
    rows = study.rows()
    best = best_row(rows)
    print_table(rows, space, plan.monitor)
    if best is None:
        raise VisionkitError(f"all {len(rows)} trials failed, the last one: {rows[-1].state}\nlogs: {folder}/*.log")
    console = Console()
    words = " ".join(shlex.quote(f"{key}={value}") for key, value in best.values.items())
    console.print(words, soft_wrap=True, markup=False, highlight=False)
    sentence = compare_best([row.metric for row in rows if row.metric is not None], plan.images)
    if sentence:
        console.print(f"{sentence} Other seeds were not tried.", soft_wrap=True, markup=False, highlight=False)
    files = f"table: {folder / 'sweep.csv'}, plot: {folder / 'sweep.svg'}, best run: {folder}/trial-{best.number}"
    console.print(files, soft_wrap=True, markup=False)
    return 0
