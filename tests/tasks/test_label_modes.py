import pytest
import torch
from torch.nn import functional

from tests.helpers.small_classifier import small_classification
from visionkit.data.batch import Batch
from visionkit.tasks.label_modes import LABEL_MODES, MultiLabel, SingleLabel

LOGITS = torch.tensor([[2.0, -1.0, 0.5], [0.0, 3.0, -2.0]])
WEIGHTS = torch.tensor([0.5, 1.0, 2.0])


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_smoothing_and_weights_of_one_class_per_image_are_torchs(smoothing, weights):
    labels = torch.tensor([2, 1])
    loss = SingleLabel().loss(LOGITS, labels, weights, smoothing)
    torch.testing.assert_close(loss, functional.cross_entropy(LOGITS, labels, weights, label_smoothing=smoothing))
    if weights is None:  # and torch's is the paper's: the truth is the label for the most part, and everything a little
        truth = functional.one_hot(labels, 3) * (1 - smoothing) + smoothing / 3
        torch.testing.assert_close(loss, -(truth * LOGITS.log_softmax(dim=1)).sum(dim=1).mean())


def test_shares_of_a_label_are_as_good_as_the_label():
    labels = torch.tensor([2, 1])
    shares = functional.one_hot(labels, 3).float()
    whole = SingleLabel().loss(LOGITS, labels, None, 0.1)
    torch.testing.assert_close(SingleLabel().loss(LOGITS, shares, None, 0.1), whole)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_binary_losses_are_written_out(smoothing):
    held = torch.tensor([[1.0, 0, 1], [0, 0, 0]])
    truth = held * (1 - smoothing) + 0.5 * smoothing
    chance = LOGITS.sigmoid()
    expected = -(truth * chance.log() + (1 - truth) * (1 - chance).log()) * WEIGHTS
    torch.testing.assert_close(MultiLabel().loss(LOGITS, held, WEIGHTS, smoothing), expected.mean())


def test_targets_come_from_a_batchs_labels_and_tags():
    targets = [{"label": 2, "tags": torch.tensor([0, 2])}, {"label": 0, "tags": torch.tensor([], dtype=torch.long)}]
    batch = Batch([], targets)
    device = torch.device("cpu")
    assert SingleLabel().targets(batch, 3, device).tolist() == [2, 0]
    assert MultiLabel().targets(batch, 3, device).tolist() == [[1, 0, 1], [0, 0, 0]]


@pytest.mark.parametrize("multi_label", [False, True])
def test_probabilities_are_float_whatever_the_logits_are(multi_label):
    pipeline = small_classification(["a", "b", "c"], multi_label=multi_label).pipeline
    probabilities = pipeline.probabilities(LOGITS.bfloat16())
    assert probabilities.dtype == torch.float32
    expected = LOGITS.sigmoid() if multi_label else LOGITS.softmax(dim=1)
    torch.testing.assert_close(probabilities, expected, atol=1e-2, rtol=1e-2)


def test_each_requires_what_its_targets_take():
    assert (LABEL_MODES[False].required, LABEL_MODES[True].required) == ("label", "tags")
