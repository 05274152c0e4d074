"""Gathering over processes: every picture once, also where a process has none."""

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from tests.metrics.cases import random_case
from visionkit.metrics import CocoAP


def _score(rank, shares, results, port):
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=len(shares))
    torch.set_num_threads(1)
    predictions, targets = random_case(5, classes=2, pictures=7)
    metric = CocoAP(["a", "b"])
    for index in shares[rank]:
        metric.update([predictions[index]], [targets[index]])
    results[rank] = metric.compute()
    dist.destroy_process_group()


def test_two_processes_with_padding_and_one_without_pictures_agree_with_one(free_port):
    predictions, targets = random_case(5, classes=2, pictures=7)
    alone = CocoAP(["a", "b"])
    alone.update(predictions, targets)
    expected = alone.compute()
    with mp.Manager() as manager:
        for number, shares in enumerate([[[0, 2, 4, 6], [1, 3, 5, 0]], [[0, 1, 2, 3, 4, 5, 6], []]]):
            results = manager.dict()
            mp.spawn(_score, (shares, results, free_port + number), nprocs=2)
            assert results[0] == pytest.approx(results[1], nan_ok=True)
            for name, value in expected.items():
                torch.testing.assert_close(results[0][name], value, equal_nan=True)
