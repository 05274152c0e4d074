import json
from pathlib import Path

import pytest
import torch

from visionkit.engine.outcomes import Classes, outcomes
from visionkit.tasks import tasks

NAMES = ["ant", "bee", "cat"]


def classes(*scores, source=None):
    return outcomes.get("classification")(source, torch.tensor(scores), NAMES)


def test_every_task_has_an_outcome():
    assert set(outcomes) == set(tasks)


def test_classes_come_the_surest_first():
    found = classes(0.2, 0.7, 0.1)
    assert isinstance(found, Classes)
    assert found.names == ["bee", "ant", "cat"]
    assert found.labels.tolist() == [1, 0, 2]
    assert found.scores.tolist() == pytest.approx([0.7, 0.2, 0.1])
    assert len(found) == 3


def test_equal_scores_keep_the_order_of_the_classes():
    assert classes(0.25, 0.5, 0.25).names == ["bee", "ant", "cat"]


@pytest.mark.parametrize(("threshold", "names"), [(0, ["bee", "ant", "cat"]), (0.2, ["bee", "ant"]), (0.9, [])])
def test_a_threshold_keeps_scores_labels_and_names_together(threshold, names):
    kept = classes(0.25, 0.7, 0.05).above(threshold)
    assert kept.names == names
    assert [NAMES[label] for label in kept.labels] == names
    assert len(kept.scores) == len(kept) == len(names)


def test_json_says_the_same():
    found = classes(0.25, 0.5, 0.25, source=Path("a.png"))
    said = json.loads(json.dumps(found.above(0.3).to_dict()))
    assert said == {"picture": "a.png", "classes": [{"score": 0.5, "name": "bee"}]}


def test_half_precision_becomes_single():
    assert classes(0.5, 0.25, 0.25).scores.dtype == "float32"
    halves = outcomes.get("classification")(None, torch.tensor([0.5, 0.25, 0.25]).bfloat16(), NAMES)
    assert halves.scores.dtype == "float32"
