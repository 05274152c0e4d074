"""Machines trained on hard negatives alone."""

from functools import partial

import numpy as np
import pytest
import torch

pytest.importorskip("sklearn")

from visionkit.engine.rcnn.region_features import TrainingRegions
from visionkit.engine.rcnn.svm import NEVER, HardNegatives, _objects_by_class, mine, train_svm
from visionkit.ops.matching import Objects

TRAIN = partial(train_svm, cost=0.001)


def images(number=12, regions=60, channels=24, classes=3):
    """Features of mean length 20 with a direction for each class and many regions that show nothing."""
    generator = torch.Generator().manual_seed(0)
    centers = torch.randn(classes, channels, generator=generator)
    found = []
    for _ in range(number):
        labels = torch.randint(-6, classes, (regions,), generator=generator)
        features = 0.5 * torch.randn(regions, channels, generator=generator)
        features += centers[labels.clamp(min=0)] * (labels >= 0)[:, None]
        found.append((20 / channels**0.5 * features, labels[:, None] != torch.arange(classes)))
    return found


def positives(found):
    return [torch.cat([features[~negative[:, label]] for features, negative in found]) for label in range(3)]


@pytest.mark.parametrize("retrain", [20, 100, 10**6])
def test_hard_negatives_make_the_machines_that_all_negatives_make(retrain):
    found = images()
    weight, bias, held = mine(lambda: iter(found), positives(found), TRAIN, passes=20, retrain=retrain)
    features = torch.cat([features for features, _ in found])
    margins = features @ weight.T + bias
    for label in range(3):
        negative = torch.cat([negative[:, label] for _, negative in found])
        whole, constant = train_svm(features[~negative], features[negative], cost=0.001)
        torch.testing.assert_close(margins[:, label], features @ whole + constant, atol=0.02, rtol=0)
        assert (margins[~negative, label] > margins[negative, label].quantile(0.99)).all(), "they tell classes apart"
    if retrain == 20:
        assert held < sum(int(negative.sum()) for _, negative in found)


def test_no_other_machine_costs_less():
    features, negative = images(number=1)[0]
    weight, bias = TRAIN(features[~negative[:, 0]], features[negative[:, 0]])
    sides = torch.where(negative[:, 0], -1.0, 1.0)
    costs = torch.where(negative[:, 0], 0.001, 0.002)  # a positive's misjudgement costs twice

    def loss(weight, bias):
        slack = (1 - sides * (features @ weight + bias)).clamp(min=0)
        return (weight.square().sum() + (bias / 10) ** 2) / 2 + (costs * slack).sum()

    best, generator = loss(weight, torch.tensor(bias)), torch.Generator().manual_seed(1)
    for size in (1e-3, 1e-2, 1e-1):
        for _ in range(50):
            moved = weight + size * weight.norm() * torch.randn(len(weight), generator=generator) / len(weight) ** 0.5
            assert loss(moved, bias + size * torch.randn((), generator=generator)) >= best - 1e-5


def test_it_ends_with_the_pass_that_finds_nothing_new():
    found, passes = images(), []

    def examples():
        passes.append(1)
        return iter(found)

    mine(examples, positives(found), TRAIN, passes=20, retrain=50)
    assert 2 <= len(passes) < 20


def test_a_class_without_an_object_scores_lowest_and_one_without_a_negative_finds_everything():
    found = images()
    features = torch.cat([features for features, _ in found])
    given = positives(found)
    given[1] = given[1][:0]
    for _, negative in found:
        negative[:, 2] = False
    weight, bias, _ = mine(lambda: iter(found), given, TRAIN)
    margins = features @ weight.T + bias
    assert (margins[:, 1] == NEVER).all()
    assert margins[:, [0, 2]].min() > NEVER
    assert (margins[:, 2] == 1).all()


def test_negatives_are_held_once_and_given_up_when_they_are_easy():
    held, features = HardNegatives(2), torch.tensor([[1.0, 0], [0, 1], [-2, 0]])
    held.add(0, torch.tensor([0, 1]), features)
    held.add(1, torch.tensor([0]), features)
    held.add(0, torch.tensor([1, 2]), features)
    assert held.names.tolist() == [[0, 0], [0, 1], [1, 0], [0, 2]]
    assert held.new == 4
    held.give_up_easy(torch.tensor([1.0, 0]), 0.0)
    assert sorted(held.names.tolist()) == [[0, 0], [0, 1], [1, 0]]
    assert held.new == 0


def test_objects_are_read_without_the_proposals_behind_them(tmp_path):
    labels = [torch.tensor([2, 0]), torch.zeros(0, dtype=torch.int64), torch.tensor([2])]
    features = [np.float16([[1, 0], [0.5, 1]]), np.zeros((0, 2), np.float16), np.float16([[0, 1]])]
    files = [tmp_path / f"{index}.npz" for index in range(3)]
    for file, own in zip(files, features, strict=True):
        np.savez(file, own_fc7=own, fc7_unit=np.float32(3))  # of the proposals nothing
    objects = [Objects(torch.zeros(len(one), 4), one, torch.zeros(0, 4)) for one in labels]
    found = _objects_by_class(TrainingRegions(files, objects, b""), 3, scale=2.0)
    assert [rows.tolist() for rows in found] == [[[3, 6]], [], [[6, 0], [0, 6]]]
