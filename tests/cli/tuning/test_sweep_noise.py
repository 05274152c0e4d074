import math

import pytest

from visionkit.cli.tuning.sweep_noise import compare_best


def test_a_small_difference_can_be_chance():
    """With 100 images and a metric of 0.8, a standard error is 0.04 to 0.0407."""
    sentence = compare_best([0.5, 0.8, 0.79, 0.77], images=100)
    assert "differ by 0.0100, less than one standard error" in sentence
    assert "(up to 0.0407)" in sentence
    assert "3 of 4 trials" in sentence


def test_more_images_tell_the_same_trials_apart():
    assert "chance" not in compare_best([0.8, 0.79], images=10_000)


@pytest.mark.parametrize("metrics", [[], [0.5], [1.2, 0.5], [-0.1, -0.2]])
def test_nothing_is_said_about_one_trial_or_other_metrics(metrics):
    assert compare_best(metrics, images=100) == ""


def test_the_error_is_that_of_a_share():
    share, images = 0.3, 50
    error = math.sqrt(share * (1 - share) / images)
    assert "chance" in compare_best([share, share - 0.9 * error], images)
    assert "chance" not in compare_best([share, share - 1.1 * error], images)
