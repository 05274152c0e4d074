import csv
import re

import pytest

from visionkit.cli.tuning.search_space import parse_space
from visionkit.cli.tuning.study import TrialRow
from visionkit.cli.tuning.sweep_report import best_row, print_table, write_files

SPACE = parse_space(["optimizer.lr=0.1,0.001,0.01", "model.backbone=resnet50,resnet18"])


def row(number, lr, backbone, metric, state="complete"):
    return TrialRow(number, {"optimizer.lr": lr, "model.backbone": backbone}, metric, 1.25, state)


ROWS = [
    row(0, "0.1", "resnet50", 0.25),
    row(1, "0.001", "resnet18", 0.5),
    row(2, "0.01", "resnet50", 0.5),
    row(3, "0.1", "resnet18", None, "[red]full disk"),
]


def test_the_first_of_equal_trials_is_the_best():
    assert best_row(ROWS).number == 1
    assert best_row(ROWS[3:]) is None


def test_a_metric_of_zero_is_better_than_a_negative_one():
    assert best_row([row(0, "0.1", "resnet50", -0.5), row(1, "0.1", "resnet18", 0.0)]).number == 1


def test_the_file_has_all_trials(tmp_path):
    write_files(ROWS, SPACE, "val/AP", tmp_path)
    with (tmp_path / "sweep.csv").open() as file:
        first, *_, failed = csv.DictReader(file)
    assert first == {
        "trial": "0",
        "optimizer.lr": "0.1",
        "model.backbone": "resnet50",
        "val/AP": "0.25",
        "minutes": "1.25",
        "state": "complete",
    }
    assert (failed["val/AP"], failed["state"]) == ("", "[red]full disk")


def test_numbers_are_in_rising_order_in_the_plot_and_names_as_given(tmp_path):
    write_files(ROWS, SPACE, "val/AP", tmp_path)
    texts = re.findall(r"<text[^>]*>([^<]+)</text>", (tmp_path / "sweep.svg").read_text())
    assert texts.index("0.001") < texts.index("0.01") < texts.index("0.1")
    assert texts.index("resnet50") < texts.index("resnet18")


def test_without_metrics_there_is_a_table_and_no_plot(tmp_path):
    write_files(ROWS[3:], SPACE, "val/AP", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["sweep.csv"]


def test_the_table_has_the_best_trial_first_and_failed_ones_last(capsys):
    print_table(ROWS, SPACE, "val/AP")
    numbers = re.findall(r"^│ (\d) ", capsys.readouterr().out, re.MULTILINE)
    assert numbers == ["1", "2", "0", "3"]


@pytest.mark.parametrize("text", ["complete, best", "[red]full disk"])
def test_the_table_names_the_best_and_the_reason_of_a_failure(text, capsys):
    print_table(ROWS, SPACE, "val/AP")
    assert text in capsys.readouterr().out


def test_trials_have_whole_numbers_in_the_plot(tmp_path):
    write_files([row(number, "0.1", "resnet50", 0.5) for number in (2, 3, 4)], SPACE, "val/AP", tmp_path)
    texts = re.findall(r"<text[^>]*>([^<]+)</text>", (tmp_path / "sweep.svg").read_text())
    assert {"2", "3", "4"} <= {*texts}
    assert "2.5" not in texts
