from types import SimpleNamespace

import pytest

from visionkit.cli.progress_bar import ProgressBar


@pytest.mark.parametrize(("epochs", "text"), [(-1, "Epoch 3"), (12, "Epoch 3/11")])
def test_a_run_without_a_number_of_epochs_names_no_last_one(epochs, text):
    bar = ProgressBar()
    bar._trainer = SimpleNamespace(max_epochs=epochs)
    assert bar._get_train_description(3).strip() == text
