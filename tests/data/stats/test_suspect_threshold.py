import numpy as np
import pytest

from visionkit.data.stats.suspect_threshold import MOST_FALSE, choose_threshold


def simulate(separation, faults, images=2000, seed=0):
    """Scores of one example per image, of which a share are faults, and of simulated faults."""
    random = np.random.default_rng(seed)
    is_fault = np.arange(images) < faults * images
    scores = random.normal(0, 1, images) - separation * is_fault
    return scores, is_fault, random.normal(-separation, 1, 4000)


@pytest.mark.parametrize("faults", [0, 0.02, 0.05])
def test_few_suspects_are_false_however_many_faults_there_are(faults):
    scores, is_fault, simulated = simulate(6, faults)
    chosen = choose_threshold(scores, np.arange(len(scores)), simulated, len(scores))
    suspect = scores < chosen.threshold
    assert (suspect & ~is_fault).sum() <= 1.5 * MOST_FALSE * len(scores)
    assert not faults or suspect[is_fault].mean() > 0.9
    assert chosen.flagged == pytest.approx(suspect.mean())


def test_scores_that_say_nothing_give_no_suspects():
    scores, _, simulated = simulate(0.5, 0.02)
    assert choose_threshold(scores, np.arange(len(scores)), simulated, len(scores)).threshold == -np.inf


def test_images_are_counted_once():
    scores, _, simulated = simulate(6, 0.02)
    owners = np.arange(len(scores)) // 10
    chosen = choose_threshold(scores, owners, simulated, len(scores) // 10)
    flagged = len(np.unique(owners[scores < chosen.threshold])) / (len(scores) // 10)
    assert chosen.flagged == pytest.approx(flagged)


def test_nothing_to_compare():
    empty = np.zeros(0)
    assert choose_threshold(empty, empty.astype(int), empty, 0).threshold == -np.inf
    assert "cannot be told" in choose_threshold(empty, empty.astype(int), empty, 0).describe("boxes")
