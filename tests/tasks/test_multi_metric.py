"""The metric of several heads, also where a head has no images."""

import math

import pytest

from tests.helpers.small_multi import multi_data, multi_task
from tests.helpers.small_trainer import small_trainer
from visionkit.cli.result_tables import result_tables
from visionkit.metrics.results import MetricResults
from visionkit.tasks.multi import MultiEvaluationOptions

TRAIN = {"count": 4, "size": 64}
ONLY_TRAIN = {"train": TRAIN}
TRAIN_AND_VAL = {"train": TRAIN, "val": {"count": 2, "size": 64, "split": "val"}}
HEADS = ("objects", "regions", "tags")
REFERENCE = MultiEvaluationOptions({"regions": 0.5, "tags": 0.5})


@pytest.mark.parametrize("unscored", HEADS)
def test_a_head_without_validation_images_does_not_count(unscored, caplog):
    scored = "tags" if unscored != "tags" else "regions"
    data = multi_data(unscored, scored, splits={unscored: ONLY_TRAIN, scored: TRAIN_AND_VAL})
    task, trainer = multi_task(data), small_trainer()
    trainer.fit(task, data)
    main = {"tags": "mAP", "regions": "mIoU"}[scored]
    assert task.results.overall["mean_metric"] == task.results.overall[f"{scored}/{main}"] >= 0
    assert not [name for name in task.results.overall if name.startswith(unscored)]
    assert f"val/mean_metric is computed without {unscored}, whose cards have no val split" in caplog.text


@pytest.mark.parametrize("untested", HEADS)
def test_a_head_without_test_images_has_no_results_and_no_file(untested):
    tested = "tags" if untested != "tags" else "regions"
    test = {**TRAIN_AND_VAL, "test": {"count": 2, "size": 64, "split": "test"}}
    data = multi_data(untested, tested, splits={untested: TRAIN_AND_VAL, tested: test})
    task = multi_task(data)
    small_trainer().test(task, data, verbose=False)
    assert {name.partition("/")[0] for name in task.results.overall} == {"mean_metric", tested}
    assert [*task.result_files()] == [f"{tested}_predictions.json"]
    assert {row["head"] for row in task.predictions_for_json()} == {tested}
    assert [table.title for table in result_tables(task, "test")] == ["test", tested]


def test_a_metric_that_is_not_defined_does_not_count():
    metric = multi_task(multi_data("regions", "tags"), evaluation=REFERENCE).metric
    results = {"regions": MetricResults({"mIoU": 0.75}), "tags": MetricResults({"mAP": math.nan})}
    assert metric.combined(results).overall["mean_metric"] == 0.75
    assert metric.combined(results).overall["relative_change"] == 50
