"""`visionkit` with `--minutes` in CPU minutes of its process, so that other work on the machine costs it no time.

    python -m tests.benchmarks.first_try.cpu_minutes fit CARD --minutes 5 data.num_workers=0

Workers of DataLoaders are other processes, whose time is not counted: use none.
"""

import sys
import time
import types

from visionkit.cli import training
from visionkit.cli.automatic import machine
from visionkit.cli.commands import fit
from visionkit.cli.main import main
from visionkit.engine import time_budget

CLOCK = types.SimpleNamespace(monotonic=time.process_time, perf_counter=time.process_time)

if __name__ == "__main__":
    for module in (fit, machine, training, time_budget):
        module.time = CLOCK
    sys.exit(main())
