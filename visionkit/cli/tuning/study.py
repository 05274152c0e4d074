"""The trials of a sweep in Optuna's journal, from which an interrupted sweep continues."""

import itertools
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from visionkit.cli.tuning.search_space import Choices, Dimension, overrides
from visionkit.cli.tuning.trial import TrialResult
from visionkit.errors import ConfigError

try:
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend
except ImportError as error:
    raise ConfigError("visionkit tune sweep needs Optuna: pip install 'visionkit[tune]'") from error

JOURNAL = "optuna.journal"


class TrialRow(NamedTuple):
    """A trial for tables.

    Attributes:
        number: number of the trial, from 0.
        values: value of each key, as text.
        metric: best main metric; None if the trial has failed.
        minutes: time of its process.
        state: "complete", or why it has failed.
    """

    number: int
    values: dict[str, str]
    metric: float | None
    minutes: float
    state: str


class Study:
    """Trials of a sweep.

    Args:
        folder: folder of the journal.
        space: keys and values.
        seed: seed of the sampler.
    """

    def __init__(self, folder: Path, space: Sequence[Dimension], seed: int) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.space = space
        storage = JournalStorage(JournalFileBackend(str(folder / JOURNAL)))
        self._study = optuna.create_study(
            storage=storage, study_name="sweep", direction="maximize", load_if_exists=True
        )
        self._asked: dict[int, Any] = {}
        # a continued sweep must not draw the values of its start again
        self._study.sampler = optuna.samplers.TPESampler(seed=seed + len(self._study.get_trials(deepcopy=False)))

    def plan(self, first: dict[str, Any] | None, trials: int, seed: int) -> int:
        """Choose the next values, and return the number of trials.

        If all keys have choices, every combination is tried at most once, in random order. Those that the study has
        already are not planned again.

        Args:
            first: values of the first trial, those of the recipe; None for random ones, or if the study continues.
            trials: number of trials that is wished for, with those that the study has.
            seed: seed of the order.
        """
        choices = [dimension for dimension in self.space if isinstance(dimension, Choices)]
        planned, known = [] if first is None else [first], self._known()
        if len(choices) == len(self.space):
            planned += [values for values in _shuffled(choices, seed) if values != first and values not in known]
            trials = min(trials, len(known) + len(planned))
        for values in planned[: max(trials - len(known), 0)]:
            self._study.enqueue_trial(values)
        return trials

    def _known(self) -> list[dict[str, Any]]:
        """Return the values of the trials that have ended or are planned."""
        return [_values(trial) for trial in self._trials()]

    def _trials(self) -> list[Any]:
        """Return the trials without those that are repeated after an interruption."""
        trials = self._study.get_trials(deepcopy=False)
        repeated = {trial.user_attrs.get("repeats") for trial in trials}
        return [trial for trial in trials if trial.number not in repeated]

    def repeat_interrupted(self) -> None:
        """Record trials that were interrupted as failed, and plan their values again."""
        for trial in self._study.get_trials(states=[optuna.trial.TrialState.RUNNING]):
            self._study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
            self._study.enqueue_trial(_values(trial), user_attrs={"repeats": trial.number})

    def ask(self) -> tuple[int, list[str]]:
        """Start a trial, and return its number and its override words."""
        trial = self._study.ask({dimension.key: _distribution(dimension) for dimension in self.space})
        self._asked[trial.number] = trial
        return trial.number, overrides(self.space, trial.params)

    def tell(self, number: int, result: TrialResult) -> None:
        """Store the result of a trial that was asked for."""
        trial = self._asked.pop(number)
        trial.set_user_attr("minutes", result.minutes)
        trial.set_user_attr("error", result.error)
        state = optuna.trial.TrialState.FAIL if result.metric is None else optuna.trial.TrialState.COMPLETE
        self._study.tell(trial, result.metric, state)

    def rows(self) -> list[TrialRow]:
        """Return the trials that have ended."""
        return [_row(self.space, trial) for trial in self._trials() if trial.state.is_finished()]


def _values(trial: Any) -> dict[str, Any]:
    """Return the values of a trial, also of one that was planned and has not started."""
    values: dict[str, Any] = trial.system_attrs.get("fixed_params", {}) | trial.params
    return values


def _row(space: Sequence[Dimension], trial: Any) -> TrialRow:
    values = {dimension.key: dimension.text(trial.params[dimension.key]) for dimension in space}
    error = trial.user_attrs.get("error", "interrupted")
    return TrialRow(trial.number, values, trial.value, trial.user_attrs.get("minutes", 0.0), error or "complete")


def _distribution(dimension: Dimension) -> Any:
    if isinstance(dimension, Choices):
        return optuna.distributions.CategoricalDistribution(dimension.values)
    if dimension.kind == "int":
        return optuna.distributions.IntDistribution(int(dimension.low), int(dimension.high))
    return optuna.distributions.FloatDistribution(dimension.low, dimension.high, log=dimension.kind == "log")


def _shuffled(choices: Sequence[Choices], seed: int) -> list[dict[str, Any]]:
    """Return all combinations in random order."""
    combinations = list(itertools.product(*(dimension.values for dimension in choices)))
    random.Random(seed).shuffle(combinations)
    keys = [dimension.key for dimension in choices]
    return [dict(zip(keys, values, strict=True)) for values in combinations]
