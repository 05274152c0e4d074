"""`visionkit runs`: the training runs in a folder."""

import argparse
from typing import Any

from visionkit.cli.arguments import add_command

USAGE = "[FOLDER] [--recipe PART] [--card PART] [--status S] [--sort KEY] [--json]"
EXAMPLES = """examples:
  visionkit runs                                                       the runs in runs/, the newest first
  visionkit runs --card bccd --sort best                               the best run on a card first
  visionkit runs --status failed
  visionkit runs --json | jq .[0].run
"""
STATUSES = ("finished", "running", "interrupted", "failed")
SORTS = ("started", "best", "duration")


def add(commands: Any) -> None:
    """Add the parser of the command."""
    text = "list the runs with card, date, duration, status and the best metric"
    parser = add_command(commands, "runs", run, text, USAGE, EXAMPLES)
    parser.add_argument("folder", nargs="?", default="runs", metavar="FOLDER", help="folder of the runs; default: runs")
    parser.add_argument("--recipe", metavar="PART", help="only recipes with this in their name")
    parser.add_argument("--card", metavar="PART", help="only runs on a card with this in its name")
    parser.add_argument("--status", choices=STATUSES, help="only runs with this status")
    parser.add_argument("--sort", choices=SORTS, default="started", help="the largest first; default: started")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Print the runs."""
    from visionkit.cli.run_list import list_runs

    given = arguments
    return list_runs(given.folder, given.recipe, given.card, given.status, given.sort, given.json)
