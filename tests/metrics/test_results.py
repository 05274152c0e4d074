import json
import math

import pytest
import torch

from visionkit.metrics.results import MetricResults, per_class_values


def test_undefined_values_are_none_in_json_and_left_out_of_the_defined_ones():
    results = MetricResults({"AP": 0.5, "APs": math.nan}, {"AP": {"a": 0.5, "b": math.nan}}, {"confusion": [[1, 0]]})
    written = json.loads(json.dumps(results.to_dict()))
    assert written["overall"] == {"AP": 0.5, "APs": None}
    assert written["per_class"] == {"AP": {"a": 0.5, "b": None}}
    assert written["confusion"] == [[1, 0]]
    assert results.defined() == {"AP": 0.5}


def test_results_are_joined_without_changing_either():
    first, second = MetricResults({"AP": 0.5}, {"AP": {"a": 0.5}}), MetricResults({"F1": 1.0}, {}, {"confusion": []})
    assert first | second == MetricResults({"AP": 0.5, "F1": 1.0}, {"AP": {"a": 0.5}}, {"confusion": []})
    assert first == MetricResults({"AP": 0.5}, {"AP": {"a": 0.5}})


def test_a_prefix_goes_before_the_names_of_metrics_and_not_of_classes():
    assert MetricResults({"AP": 0.5}, {"AP": {"a": 0.5}}).with_prefix("mask_") == MetricResults(
        {"mask_AP": 0.5}, {"mask_AP": {"a": 0.5}}
    )


def test_class_names_may_contain_a_slash_and_need_one_value_each():
    assert per_class_values(["car/truck", "b"], torch.tensor([1.0, 2.0])) == {"car/truck": 1.0, "b": 2.0}
    with pytest.raises(ValueError, match="shorter"):
        per_class_values(["a", "b"], [1.0])
