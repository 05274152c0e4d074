import warnings

from tests.helpers.small_multi import single_task
from tests.helpers.small_trainer import small_trainer
from visionkit.cli.logs import show_progress_messages


def test_a_training_shows_no_warning_about_hooks_of_the_task():
    task, data = single_task("tags")
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        show_progress_messages()
        small_trainer(max_epochs=-1, max_steps=1, limit_val_batches=0).fit(task, data)
    assert not [str(one.message) for one in shown if "overridden" in str(one.message)]
