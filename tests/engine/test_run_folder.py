from concurrent.futures import ThreadPoolExecutor

import pytest
import yaml

from visionkit.engine.run_folder import (
    RunName,
    check_not_finished,
    latest_checkpoint,
    mark_finished,
    mark_unfinished,
    new_run_folder,
    write_recipe,
)
from visionkit.errors import VisionkitError


def test_run_folders_are_numbered_and_never_shared(tmp_path):
    folders = [new_run_folder("r", tmp_path) for _ in range(2)]
    (tmp_path / "r" / "10").mkdir()
    folders.append(new_run_folder("r", tmp_path))
    assert [folder.name for folder in folders] == ["1", "2", "11"]


def test_the_latest_checkpoint_is_that_of_the_run_with_the_highest_number(tmp_path):
    for number in (2, 10):
        (tmp_path / "r" / str(number)).mkdir(parents=True)
        (tmp_path / "r" / str(number) / "last.ckpt").touch()
    assert latest_checkpoint(RunName("r", []), tmp_path).parent.name == "10"
    with pytest.raises(VisionkitError, match="nothing to resume"):
        latest_checkpoint(RunName("other", []), tmp_path)


def test_a_resume_with_a_card_names_the_runs_of_the_same_recipe_without_it(tmp_path):
    for folder in ("r", "r-50"):
        (tmp_path / folder / "1").mkdir(parents=True)
        (tmp_path / folder / "1" / "last.ckpt").touch()
    with pytest.raises(VisionkitError, match=r"a run of .*/r-50: --resume .*/r-50/<n>/last\.ckpt$"):
        latest_checkpoint(RunName("r-50", ["camvid"]), tmp_path)


@pytest.mark.parametrize("name", [RunName("r", []), RunName("r", ["camvid"]), RunName(None, ["r", "camvid"])])
def test_runs_without_a_checkpoint_are_not_named(name, tmp_path):
    (tmp_path / "r" / "1").mkdir(parents=True)
    with pytest.raises(VisionkitError, match=r"^nothing to resume: no .*/<n>/last\.ckpt$"):
        latest_checkpoint(name, tmp_path)


def test_a_folder_that_cannot_be_made_raises(tmp_path):
    (tmp_path / "r").write_text("a file")
    with pytest.raises(VisionkitError, match="cannot be written"):
        new_run_folder("r", tmp_path)


def test_the_recipe_is_written_in_its_order(tmp_path):
    recipe = {"task": "detection", "data": {"class_names": ["Käfer", "bee"]}, "a": None}
    write_recipe(recipe, tmp_path)
    assert list(yaml.safe_load((tmp_path / "recipe.yaml").read_text())) == ["task", "data", "a"]
    assert "Käfer" in (tmp_path / "recipe.yaml").read_text()


def test_runs_that_start_at_once_get_different_folders(tmp_path):
    with ThreadPoolExecutor(16) as pool:
        folders = list(pool.map(lambda _: new_run_folder("r", tmp_path), range(64)))
    assert len({*folders}) == 64


def test_a_newest_run_without_a_checkpoint_is_not_skipped(tmp_path):
    for number in (1, 2, 3):
        (tmp_path / "r" / str(number)).mkdir(parents=True)
    (tmp_path / "r" / "1" / "last.ckpt").touch()
    message = r"the newest run .*r/3 has no last\.ckpt yet\nto continue an older run: --resume .*r/1/last\.ckpt"
    with pytest.raises(VisionkitError, match=message):
        latest_checkpoint(RunName("r", []), tmp_path)


def test_the_recipe_of_a_resumed_run_does_not_replace_the_first(tmp_path):
    for lr in (1, 1, 2, 2, 3, 1):
        write_recipe({"lr": lr}, tmp_path)
    files = {path.name: yaml.safe_load(path.read_text())["lr"] for path in tmp_path.iterdir()}
    assert files == {"recipe.yaml": 1, "recipe.resumed-1.yaml": 2, "recipe.resumed-2.yaml": 3}


FINISHED_RUNS = [
    ({"max_epochs": 2}, {"max_epochs": 2}, False),
    ({"max_epochs": 2}, {"max_epochs": 1}, False),
    ({"max_epochs": 2}, {"max_epochs": 3}, True),
    ({"max_epochs": 2}, {"max_epochs": -1}, True),
    ({"max_epochs": 2}, {}, True),
    ({}, {}, False),
    ({}, {"max_epochs": 1000}, False),
    ({}, {"max_epochs": 1001}, True),
    ({"max_epochs": -1}, {"max_epochs": 5}, False),
    ({"max_steps": 10}, {"max_steps": 10}, False),
    ({"max_steps": 10}, {"max_steps": 11}, True),
    ({"max_time": "00:00:01:00"}, {"max_time": "00:00:01:00"}, False),
    ({"max_time": "00:00:01:00"}, {"max_time": "00:00:02:00"}, True),
    ({"max_epochs": 2}, {"max_epochs": "many"}, False),
]


@pytest.mark.parametrize(("before", "now", "longer"), FINISHED_RUNS)
def test_a_finished_run_is_continued_only_for_longer(before, now, longer, tmp_path):
    check_not_finished(tmp_path, now)
    mark_finished(tmp_path, before)
    if longer:
        check_not_finished(tmp_path, now)
    else:
        with pytest.raises(
            VisionkitError, match=r"is finished .*, and is not trained again\n.*larger trainer\.max_epochs"
        ):
            check_not_finished(tmp_path, now)
    mark_unfinished(tmp_path)
    check_not_finished(tmp_path, now)


@pytest.mark.parametrize(
    ("before", "now", "longer"),
    [(5, 5, False), (5, 4, False), (5, 5.5, True), (None, 1, True), (5, None, False)],
)
def test_a_run_of_a_given_time_is_continued_only_for_a_longer_one(before, now, longer, tmp_path):
    mark_finished(tmp_path, {"max_epochs": 2}, before)
    if longer:
        check_not_finished(tmp_path, {"max_epochs": 2}, now)
    else:
        with pytest.raises(VisionkitError, match=r"is finished \(--minutes 5\).*\nto go on, give more --minutes;"):
            check_not_finished(tmp_path, {"max_epochs": 9}, now)
