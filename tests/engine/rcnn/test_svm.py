"""Linear SVMs trained on hard negatives only."""

from functools import partial

import numpy as np
import pytest
import torch

pytest.importorskip("sklearn")

from visionkit.engine.rcnn.hard_negatives import NO_OBJECTS_BIAS, mine_hard_negatives
from visionkit.engine.rcnn.region_features import TrainingRegions
from visionkit.engine.rcnn.svm import _objects_per_class, train_svm
from visionkit.ops.matching import Objects

TRAIN = partial(train_svm, cost=0.001)


def images(number=12, regions=60, channels=24, classes=3):
    """Features of mean length 20 with a direction for each class and many regions of background."""
    generator = torch.Generator().manual_seed(0)
    centers = torch.randn(classes, channels, generator=generator)
    per_image = []
    for _ in range(number):
        labels = torch.randint(-6, classes, (regions,), generator=generator)
        features = 0.5 * torch.randn(regions, channels, generator=generator)
        features += centers[labels.clamp(min=0)] * (labels >= 0)[:, None]
        per_image.append((20 / channels**0.5 * features, labels[:, None] != torch.arange(classes)))
    return per_image


def positives(per_image):
    return [torch.cat([features[~negative[:, label]] for features, negative in per_image]) for label in range(3)]


@pytest.mark.parametrize("retrain", [20, 100, 10**6])
def test_hard_negatives_give_the_svms_of_all_negatives(retrain):
    per_image = images()
    weight, bias, kept = mine_hard_negatives(
        lambda: iter(per_image), positives(per_image), TRAIN, passes=20, retrain_after=retrain
    )
    features = torch.cat([features for features, _ in per_image])
    margins = features @ weight.T + bias
    for label in range(3):
        negative = torch.cat([negative[:, label] for _, negative in per_image])
        whole, constant = train_svm(features[~negative], features[negative], cost=0.001)
        torch.testing.assert_close(margins[:, label], features @ whole + constant, atol=0.02, rtol=0)
        assert (margins[~negative, label] > margins[negative, label].quantile(0.99)).all(), "classes are separated"
    if retrain == 20:
        assert kept < sum(int(negative.sum()) for _, negative in per_image)


def test_the_svm_minimizes_the_loss():
    features, negative = images(number=1)[0]
    weight, bias = TRAIN(features[~negative[:, 0]], features[negative[:, 0]])
    sides = torch.where(negative[:, 0], -1.0, 1.0)
    costs = torch.where(negative[:, 0], 0.001, 0.002)  # positives have twice the weight

    def loss(weight, bias):
        slack = (1 - sides * (features @ weight + bias)).clamp(min=0)
        return (weight.square().sum() + (bias / 10) ** 2) / 2 + (costs * slack).sum()

    best, generator = loss(weight, torch.tensor(bias)), torch.Generator().manual_seed(1)
    for size in (1e-3, 1e-2, 1e-1):
        for _ in range(50):
            moved = weight + size * weight.norm() * torch.randn(len(weight), generator=generator) / len(weight) ** 0.5
            assert loss(moved, bias + size * torch.randn((), generator=generator)) >= best - 1e-5


def test_mining_ends_with_the_pass_without_new_hard_negatives():
    per_image, passes = images(), []

    def examples():
        passes.append(1)
        return iter(per_image)

    mine_hard_negatives(examples, positives(per_image), TRAIN, passes=20, retrain_after=50)
    assert 2 <= len(passes) < 20


def test_margins_of_classes_without_objects_or_without_negatives():
    per_image = images()
    features = torch.cat([features for features, _ in per_image])
    given = positives(per_image)
    given[1] = given[1][:0]
    for _, negative in per_image:
        negative[:, 2] = False
    weight, bias, _ = mine_hard_negatives(lambda: iter(per_image), given, TRAIN)
    margins = features @ weight.T + bias
    assert (margins[:, 1] == NO_OBJECTS_BIAS).all()
    assert margins[:, [0, 2]].min() > NO_OBJECTS_BIAS
    assert (margins[:, 2] == 1).all()


def test_objects_are_read_without_their_image_s_proposals(tmp_path):
    labels = [torch.tensor([2, 0]), torch.zeros(0, dtype=torch.int64), torch.tensor([2])]
    features = [np.float16([[1, 0], [0.5, 1]]), np.zeros((0, 2), np.float16), np.float16([[0, 1]])]
    files = [tmp_path / f"{index}.npz" for index in range(3)]
    for file, own in zip(files, features, strict=True):
        np.savez(file, own_fc7=own, fc7_unit=np.float32(3))  # without those of proposals
    objects = [Objects(torch.zeros(len(one), 4), one, torch.zeros(0, 4)) for one in labels]
    per_image = _objects_per_class(TrainingRegions(files, objects, b""), 3, scale=2.0)
    assert [rows.tolist() for rows in per_image] == [[[3, 6]], [], [[6, 0], [0, 6]]]
