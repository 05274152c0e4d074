"""`visionkit tune`: find a learning rate or a batch size, or compare values of recipe keys in short runs."""

import argparse
import math
import os
import shlex
import sys
from typing import Any

from visionkit.cli.arguments import WORDS_HELP, add_command, add_plugin_option, import_plugin_files, plugin_overrides
from visionkit.cli.config.merge import Layer, saying_where
from visionkit.cli.run_name import run_name
from visionkit.cli.tuning.checked_recipe import checked_recipe
from visionkit.errors import ConfigError
from visionkit.option_checks import check_above, check_at_least

ACTIONS = ("lr", "batch-size", "sweep")
USAGE = (
    f"{'|'.join(ACTIONS)} RECIPE [CARD ...] [key=value ...] [--steps N] [--min LR] [--max LR|N] [--effective N] "
    "[--vary KEY=SPEC] [--trials N] [--minutes M | --epochs N] [--resume DIR] [--output DIR] [--plugin FILE.py]"
)
EXAMPLES = """examples:
  visionkit tune lr retinanet_resnet50 data/mine.yaml                  which optimizer.lr?
  visionkit tune batch-size retinanet_resnet50 data/mine.yaml          which data.batch_size?
  visionkit tune sweep unet_resnet50 data/mine.yaml --vary optimizer.lr=log:1e-4:1e-2 \\
      --vary model.backbone=resnet18,resnet50 --trials 8 --minutes 10
  visionkit tune sweep --resume tune/unet_resnet50/sweep/1 --trials 12
"""
OPTIONS = {
    "steps": ("lr", "batch-size"),
    "min": ("lr",),
    "max": ("lr", "batch-size"),
    "effective": ("batch-size",),
    "vary": ("sweep",),
    "trials": ("sweep",),
    "minutes": ("sweep",),
    "epochs": ("sweep",),
    "resume": ("sweep",),
}
"""Actions of each option."""

LOWEST_LR, HIGHEST_LR, LR_STEPS = 1e-6, 10.0, 100
"""Learning rates and steps of `tune lr`."""

BATCH_STEPS = 5
"""Steps of `tune batch-size` per batch size."""

TRIALS = 10
"""Number of trials of a sweep."""


def add(commands: Any) -> None:
    """Add the parser of the command."""
    text = "find a learning rate or a batch size, or compare values of recipe keys in short runs"
    parser = add_command(commands, "tune", run, text, USAGE, EXAMPLES)
    parser.add_argument("action", choices=ACTIONS)
    parser.add_argument("words", nargs="*", metavar="RECIPE | CARD | key=value", help=WORDS_HELP)
    text = f"lr: optimizer steps ({LR_STEPS}); batch-size: steps per batch size ({BATCH_STEPS})"
    parser.add_argument("--steps", type=int, metavar="N", help=text)
    parser.add_argument("--min", type=float, metavar="LR", help=f"lr: smallest optimizer.lr ({LOWEST_LR:g})")
    text = f"lr: largest optimizer.lr ({HIGHEST_LR:g}); batch-size: largest batch size that is tried"
    parser.add_argument("--max", type=float, metavar="LR|N", help=text)
    text = "batch-size: images per optimizer step (that of the recipe)"
    parser.add_argument("--effective", type=int, metavar="N", help=text)
    text = "sweep: a key and its values: a,b,c, log:1e-4:1e-2, uniform:0.1:0.9 or int:1:4; may be repeated"
    parser.add_argument("--vary", action="append", metavar="KEY=SPEC", help=text)
    parser.add_argument("--trials", type=int, metavar="N", help=f"sweep: number of trials ({TRIALS})")
    parser.add_argument("--minutes", type=float, metavar="M", help="sweep: minutes of each trial")
    parser.add_argument("--epochs", type=int, metavar="N", help="sweep: epochs of each trial, instead of minutes")
    parser.add_argument("--resume", metavar="DIR", help="sweep: continue the sweep in this folder")
    text = "folder of the results, new or empty (tune/<recipe>-<card>/<action>/<n>)"
    parser.add_argument("--output", metavar="DIR", help=text)
    add_plugin_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Check the recipe, and run the action."""
    options = {name: value for name in OPTIONS if (value := vars(arguments)[name]) is not None}
    for name in options:
        if arguments.action not in OPTIONS[name]:
            actions = " and ".join(f"`visionkit tune {action}`" for action in OPTIONS[name])
            arguments.parser.error(f"--{name} goes with {actions}")
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_DISABLE", "1")  # Lightning's finder has a bar that fills a log file
    if arguments.action == "sweep":
        return _sweep(arguments)
    name, recipe = _name_and_recipe(arguments)
    action = _lr if arguments.action == "lr" else _batch_size
    return action(arguments, recipe, name)


def _name_and_recipe(arguments: argparse.Namespace) -> tuple[str, Layer]:
    """Return the name of the recipe and its cards, and the composed recipe, which is checked.

    Raises:
        ConfigError: there is no recipe, or its keys or data cannot be used.
    """
    name = run_name(arguments.words)
    if name.recipe is None:
        cards = shlex.join(arguments.words)
        raise ConfigError(
            f"tune needs a recipe, and {name.folder} is data\n"
            f"write one with: visionkit fit {cards} --dry-run > my_recipe.yaml"
        )
    return name.folder, checked_recipe([*arguments.words, *plugin_overrides(arguments)])


def _lr(arguments: argparse.Namespace, recipe: Layer, name: str) -> int:
    lowest = LOWEST_LR if arguments.min is None else arguments.min
    highest = HIGHEST_LR if arguments.max is None else arguments.max
    steps = LR_STEPS if arguments.steps is None else arguments.steps
    check_above(0, min=lowest)
    check_above(lowest, max=highest)
    check_at_least(20, steps=steps)
    from visionkit.cli.tuning.learning_rate import tune_lr

    import_plugin_files(recipe.values.get("plugins") or [])
    with saying_where(recipe):
        return tune_lr(
            recipe.values,
            words=[*arguments.words, *plugin_overrides(arguments)],
            name=name,
            steps=steps,
            lowest=lowest,
            highest=highest,
            output=arguments.output,
        )


def _batch_size(arguments: argparse.Namespace, recipe: Layer, name: str) -> int:
    steps = BATCH_STEPS if arguments.steps is None else arguments.steps
    check_at_least(2, steps=steps)
    check_at_least(1, max=arguments.max, effective=arguments.effective)
    if arguments.max is not None and arguments.max % 1:
        arguments.parser.error(f"--max {arguments.max:g} must be a whole number of images")
    from visionkit.cli.tuning.batch_size import tune_batch_size

    import_plugin_files(recipe.values.get("plugins") or [])
    with saying_where(recipe):
        return tune_batch_size(
            recipe.values,
            name=name,
            steps=steps,
            largest=None if arguments.max is None else int(arguments.max),
            effective=arguments.effective,
            output=arguments.output,
        )


def _sweep(arguments: argparse.Namespace) -> int:
    """Start or continue a sweep."""
    check_at_least(1, trials=arguments.trials, epochs=arguments.epochs)
    if arguments.resume is not None:
        given = [name for name in ("words", "vary", "minutes", "epochs", "output", "plugin") if vars(arguments)[name]]
        if given:
            arguments.parser.error("--resume continues a sweep as it was started: only --trials can be given")
        from visionkit.cli.tuning.sweep import resume_sweep

        return resume_sweep(arguments.resume, arguments.trials)
    if not arguments.vary:
        arguments.parser.error("a sweep needs --vary KEY=SPEC, for example --vary optimizer.lr=log:1e-4:1e-2")
    if (arguments.minutes is None) == (arguments.epochs is None):
        arguments.parser.error("a sweep needs the budget of each trial: --minutes M or --epochs N")
    if arguments.minutes is not None and not 0 < arguments.minutes < math.inf:
        arguments.parser.error(f"--minutes {arguments.minutes:g} must be above 0")
    return _new_sweep(arguments)


def _new_sweep(arguments: argparse.Namespace) -> int:
    from visionkit.cli.tuning.search_space import parse_space

    words = [*arguments.words, *plugin_overrides(arguments)]
    name, recipe = _name_and_recipe(arguments)
    space = parse_space(arguments.vary)
    from visionkit.cli.tuning.sweep import SweepPlan, start_sweep

    import_plugin_files(recipe.values.get("plugins") or [])
    plan = SweepPlan(
        words=words,
        vary=arguments.vary,
        trials=TRIALS if arguments.trials is None else arguments.trials,
        minutes=arguments.minutes,
        epochs=arguments.epochs,
    )
    with saying_where(recipe):
        return start_sweep(plan, recipe, space, name=name, output=arguments.output)
