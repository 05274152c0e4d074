"""Images of the detection metrics: gathered over processes, each image once, also if a process has none."""

import copy
import json

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from tests.helpers.metric_cases import flat, random_case
from tests.helpers.process_copies import START_METHOD
from visionkit.errors import VisionkitError
from visionkit.metrics.coco import CocoAP
from visionkit.metrics.voc import VocAP

PADDED, ONE_IDLE = [[0, 2, 4, 6], [1, 3, 5, 0]], [[0, 1, 2, 3, 4, 5, 6], []]


def _score(rank, folder, port):
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    torch.set_num_threads(1)
    predictions, targets = random_case(5, classes=2, images=7)
    metrics = []
    for shares in (PADDED, ONE_IDLE):
        metric = CocoAP(["a", "b"])
        for index in shares[rank]:
            metric.update([predictions[index]], [targets[index]])
        metrics.append(flat(metric.compute()))
    (folder / f"{rank}.json").write_text(json.dumps(metrics))
    dist.destroy_process_group()


def test_two_processes_with_padding_or_without_images_agree_with_one(free_port, tmp_path):
    alone = CocoAP(["a", "b"])
    alone.update(*random_case(5, classes=2, images=7))
    expected = flat(alone.compute())
    mp.start_processes(_score, (tmp_path, free_port), nprocs=2, start_method=START_METHOD)
    for rank in range(2):
        for metrics in json.loads((tmp_path / f"{rank}.json").read_text()):
            assert metrics == pytest.approx(expected, nan_ok=True)


def image(image_id=1, **changes):
    prediction = {"boxes": torch.tensor([[0.0, 0, 9, 9]]), "scores": torch.tensor([0.5]), "labels": torch.tensor([0])}
    target = {"image_id": image_id, "size": (50, 50), "boxes": prediction["boxes"], "labels": torch.tensor([0])}
    return {**prediction, **changes}, target


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"labels": torch.tensor([2])}, "image 1: predicted label 2, but labels are 0 to 1"),
        ({"labels": torch.tensor([-1])}, "predicted label -1"),
        ({"scores": torch.tensor([0.5, 0.4])}, "1 predicted boxes, but 2 scores"),
        ({"masks": []}, "1 predicted boxes, but 0 masks"),
        ({"boxes": torch.tensor([[0.0, 0, float("nan"), 9]])}, "NaN or infinite"),
    ],
)
def test_an_invalid_prediction_raises_and_is_named(changes, words):
    prediction, target = image(**changes)
    with pytest.raises(VisionkitError, match=words):
        CocoAP(["a", "b"]).update([prediction], [target])


def test_a_target_with_an_unknown_label_raises():
    prediction, target = image()
    with pytest.raises(VisionkitError, match="true label 7"):
        VocAP(["a"]).update([prediction], [{**target, "labels": torch.tensor([7])}])


@pytest.mark.parametrize("kind", [torch.tensor, np.int64])
def test_ids_of_any_integer_kind_are_the_same_image(kind):
    metric = CocoAP(["a"])
    for image_id in (3, kind(3)):
        prediction, target = image(image_id)
        metric.update([prediction], [target])
    assert metric.image_ids == [3]


def test_calling_a_metric_keeps_every_image():
    metric = CocoAP(["a"])
    for image_id in (1, 2):
        prediction, target = image(image_id)
        metric([prediction], [target])
    assert metric.image_ids == [1, 2]


def test_copies_keep_their_images_after_a_reset():
    metric = CocoAP(["a"])
    prediction, target = image()
    metric.update([prediction], [target])
    other = copy.deepcopy(metric)
    metric.reset()
    assert not metric.image_ids
    assert other.compute().overall["AP"] == pytest.approx(1.0)
