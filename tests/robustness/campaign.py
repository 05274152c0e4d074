"""Run new random cases of all kinds in processes with limits, and print how they ended.

python -m tests.robustness.campaign 1000 7                   1,000 cases from the seed 7
python -m tests.robustness.campaign 1000 7 --failures out    keep the files of faults in out/
python -m tests.robustness.campaign 200 7 --kinds coco voc
"""

import argparse
import collections
import json
import os
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

import torch

from tests.robustness.boundary import FAULTS, GOOD, sandbox
from tests.robustness.cases import NAMES, kind_of
from tests.robustness.cases.models import checkpoint
from tests.robustness.cases.overrides import keys_of
from tests.robustness.cases.recipes import TEXTS
from tests.robustness.checks import run_case


def warm_up():
    """Import and compute once what all cases need, so that forked processes share it."""
    import visionkit.cli.data_tools
    import visionkit.cli.prediction
    import visionkit.cli.scoring
    import visionkit.cli.training  # noqa: F401

    torch.set_num_threads(1)  # threads do not survive a fork
    for text in TEXTS:
        keys_of(text)
    for task in ("classification", "detection", "segmentation"):
        checkpoint(task)


def run_campaign(count, seed, names=NAMES, failures=None):
    """Run `count` cases, spread over the kinds, and return the number of each ending by kind.

    Args:
        count: number of cases.
        seed: seed of the first case; equal seeds give equal cases.
        names: kinds.
        failures: folder in which the files of faults are kept; None keeps none.
    """
    endings = {name: collections.Counter() for name in names}
    for number in range(count):
        name = names[number % len(names)]
        case_seed = f"{name}-{seed}-{number}"
        with tempfile.TemporaryDirectory(prefix="visionkit-case-") as folder:
            ending, words = run_case(name, random.Random(case_seed), Path(folder) / "run")
            if ending.kind in FAULTS:
                keep(case_seed, words, ending, name, failures)
        endings[name][ending.kind] += 1
    return endings


def keep(case_seed, words, ending, name, failures):
    """Print a fault, and write its files anew into the folder of failures."""
    last = (ending.detail.strip().splitlines() or [""])[-1]
    print(f"{ending.kind}: {case_seed} {words!r:.120}: {last:.200}", flush=True)
    if failures is not None:
        target = failures / case_seed
        shutil.rmtree(target, ignore_errors=True)
        kind_of(name).prepare(random.Random(case_seed), sandbox(target))
        (target / "ending.json").write_text(json.dumps({"words": words, **vars(ending)}, indent=1))
        (target / "detail.txt").write_text(ending.detail)


def table(endings):
    """Return the lines of the table of endings."""
    columns = [*GOOD, *FAULTS]
    rows = [*endings.items(), ("all", sum(endings.values(), collections.Counter()))]
    yield f"{'kind':<16}" + "".join(f"{column:>11}" for column in columns)
    for name, counts in rows:
        yield f"{name:<16}" + "".join(f"{counts[column]:>11}" for column in columns)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", type=int, help="number of cases")
    parser.add_argument("seed", type=int, help="seed of the cases")
    parser.add_argument("--kinds", nargs="+", default=NAMES, choices=NAMES, help="kinds of cases; all by default")
    parser.add_argument("--failures", type=Path, help="folder for the files of faults")
    options = parser.parse_args()
    os.environ["VISIONKIT_OFFLINE"] = "1"
    warm_up()
    started = time.monotonic()
    endings = run_campaign(options.count, options.seed, list(options.kinds), options.failures)
    print("\n".join(table(endings)))
    print(f"{time.monotonic() - started:.0f} s")
    return 1 if any(counts[fault] for counts in endings.values() for fault in FAULTS) else 0


if __name__ == "__main__":
    sys.exit(main())
