"""Tasks of Label Studio's exports."""

import json

import pytest

from visionkit.data.datasets.label_studio_tasks import read_tasks
from visionkit.errors import DataError

VALUE = {"x": 1, "y": 2, "width": 3, "height": 4, "rotation": 0, "rectanglelabels": ["cat"]}
RESULT = {"type": "rectanglelabels", "original_width": 64, "original_height": 48, "image_rotation": 0, "value": VALUE}
SHAPE = {**VALUE, "original_width": 64, "original_height": 48}


def annotation(day, *results, **more):
    return {"updated_at": f"2024-01-{day}T00:00:00.0Z", "result": list(results), **more}


def task(*annotations, number=1):
    return {"id": number, "data": {"image": "a.jpg"}, "annotations": list(annotations), "predictions": [{"result": 3}]}


def read(content, folder, report=None):
    (folder / "e.json").write_text(json.dumps(content))
    return read_tasks(folder / "e.json", "image", {} if report is None else report)


def test_the_export_json(tmp_path):
    (found,) = read([task(annotation("01", RESULT, {"type": "relation"}))], tmp_path)
    assert (found.place, found.image) == (f"{tmp_path / 'e.json'}: task 1", "a.jpg")
    assert found.results == [("rectanglelabels", VALUE, (48, 64)), ("relation", {}, None)]


def test_the_newest_annotation_that_is_not_cancelled_is_read(tmp_path):
    report = {}
    annotations = [annotation("02", RESULT), annotation("01"), annotation("03", was_cancelled=True)]
    tasks = read([task(*annotations), task(number=2), task(annotations[2], number=3)], tmp_path, report)
    assert [len(found.results) for found in tasks] == [1]
    assert report == {
        "cancelled annotations left out": 2,
        "older annotations of the same task left out": 1,
        "tasks without annotation left out": 2,
    }


def test_without_dates_the_last_annotation_is_read(tmp_path):
    (found,) = read([task({"result": []}, {"result": [RESULT]})], tmp_path)
    assert len(found.results) == 1


def test_exports_of_versions_before_1_0(tmp_path):
    """Their annotations are `completions`, with times in seconds, and cancelled ones are `skipped`."""
    completions = [
        {"id": 1001, "created_at": 1600000002, "lead_time": 3.5, "result": [RESULT]},
        {"id": 1002, "created_at": 1600000001, "result": []},
        {"id": 1003, "created_at": 1600000003, "skipped": True, "was_cancelled": True},
        {"id": 1004, "result": []},
    ]
    report = {}
    (found,) = read([{"id": 1, "data": {"image": "a.jpg"}, "completions": completions}], tmp_path, report)
    assert (found.image, len(found.results)) == ("a.jpg", 1)
    assert report == {"cancelled annotations left out": 1, "older annotations of the same task left out": 2}
    with pytest.raises(DataError, match="task 1 has the completions 3; it must be a list"):
        read([{"id": 1, "data": {"image": "a.jpg"}, "completions": 3}], tmp_path)


def test_the_export_json_min(tmp_path):
    old = {"id": 7, "image": "a.jpg", "tag": [], "annotation_id": 1, "updated_at": "2024-01-01T00:00:00Z"}
    new = {
        **old,
        "tag": [SHAPE],
        "choice": "wet",
        "other": [3],
        "annotation_id": 2,
        "updated_at": "2024-01-02T00:00:00Z",
    }
    without = {"id": 8, "image": "b.jpg", "annotation_id": None}
    report = {}
    (found,) = read([new, old, without], tmp_path, report)
    assert (found.image, found.results) == ("a.jpg", [("rectanglelabels", SHAPE, (48, 64))])
    assert report == {"tasks without annotation left out": 1, "older annotations of the same task left out": 1}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({}, "the export must be a list"),
        ([], "has no tasks"),
        ([3], "entry 0 of the export must be an object"),
        ([task()], "no task has an annotation"),
        ([{"id": 4, "annotations": []}], "task 4 has no data"),
        ([{"id": 4, "data": {}}], "task 4 has no annotations"),
        ([task({"result": 3})], "result of task 1 must be a list, not 3"),
        ([task({"result": [3]})], "entry 0 of result of task 1 must be an object, not 3"),
        ([task({"result": [{"value": {}}]})], "entry 0 of result of task 1 has no type"),
        ([task({"result": [{**RESULT, "value": 3}]})], "has the value 3; it must be an object"),
        ([task({"result": [{**RESULT, "original_width": "x"}]})], "has the original_width 'x'"),
        ([task({"result": [{**RESULT, "image_rotation": 90}]})], "has the image_rotation 90; results on rotated"),
        ([task({"result": [], "was_cancelled": "no"})], "has the was_cancelled 'no'"),
        ([task({"result": [], "updated_at": 3})], "has the updated_at 3; it must be a date"),
        (
            [{"id": 4, "data": {"photo": "a.jpg"}, "annotations": [{"result": []}]}],
            "(?s)task 4: image is None.*one of: photo",
        ),
    ],
)
def test_other_content_is_refused(content, said, tmp_path):
    with pytest.raises(DataError, match=said):
        read(content, tmp_path)
