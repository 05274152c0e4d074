import torch

from visionkit.engine.rcnn import hard_negatives
from visionkit.engine.rcnn.hard_negatives import HardNegatives, mine_hard_negatives


def test_negatives_are_kept_once_and_dropped_when_they_are_easy():
    kept, features = HardNegatives(2), torch.tensor([[1.0, 0], [0, 1], [-2, 0]])
    kept.add(0, torch.tensor([0, 1]), features)
    kept.add(1, torch.tensor([0]), features)
    kept.add(0, torch.tensor([1, 2]), features)
    assert kept.ids.tolist() == [[0, 0], [0, 1], [1, 0], [0, 2]]
    assert kept.new == 4
    kept.drop_easy(torch.tensor([1.0, 0]), 0.0)
    assert sorted(kept.ids.tolist()) == [[0, 0], [0, 1], [1, 0]]
    assert kept.new == 0


def test_at_most_the_hardest_negatives_are_kept(monkeypatch):
    monkeypatch.setattr(hard_negatives, "MAX_NEGATIVES", 2)
    kept = HardNegatives(1)
    kept.add(0, torch.arange(4), torch.tensor([[0.0], [3.0], [1.0], [2.0]]))
    kept.drop_easy(torch.tensor([1.0]), 0.0)
    assert kept.ids[:, 1].tolist() == [1, 3]
    assert kept.features().tolist() == [[3.0], [2.0]]


def test_the_svm_of_a_class_is_trained_again_after_enough_new_negatives():
    trained = []

    def train(positives, negatives):
        trained.append(len(negatives))
        return torch.zeros(1), 0.0  # every region stays hard

    images = [(torch.zeros(3, 1), torch.ones(3, 1, dtype=torch.bool)) for _ in range(4)]
    mine_hard_negatives(lambda: iter(images), [torch.ones(1, 1)], train, passes=1, retrain_after=6)
    assert trained == [6, 12]
