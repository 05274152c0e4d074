"""run.yaml: start, end and status of each session of a run."""

import signal

import pytest
import yaml

from visionkit.engine.run_record import RUN_FILE, add_to_record, read_record, recorded_session
from visionkit.errors import ConfigError, StoppedError

FACTS = {"recipe": "unet", "cards": ["mine"]}


def test_a_session_that_ends_is_finished_and_the_next_one_is_added(tmp_path):
    for _ in range(2):
        with recorded_session(tmp_path, FACTS):
            assert "ended" not in read_record(tmp_path)["sessions"][-1]
    record = read_record(tmp_path)
    assert (record["recipe"], record["cards"]) == ("unet", ["mine"])
    assert [session["status"] for session in record["sessions"]] == ["finished", "finished"]
    assert all(session["seconds"] >= 0 for session in record["sessions"])


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (ConfigError("a wrong key\nand more"), "failed", "ConfigError: a wrong key"),
        (StoppedError(signal.SIGTERM, "stopped"), "interrupted", None),
        (KeyboardInterrupt(), "interrupted", None),
    ],
)
def test_an_error_is_recorded_and_passed_on(error, status, text, tmp_path):
    with pytest.raises(type(error)), recorded_session(tmp_path, FACTS):
        raise error
    (session,) = read_record(tmp_path)["sessions"]
    assert (session["status"], session.get("error")) == (status, text)


def test_facts_are_added_and_a_broken_record_is_replaced(tmp_path):
    (tmp_path / RUN_FILE).write_text("{broken")
    with pytest.raises(yaml.YAMLError):
        read_record(tmp_path)
    add_to_record(tmp_path, {"wandb_id": "x"})
    assert read_record(tmp_path) == {"wandb_id": "x"}


def test_a_folder_that_cannot_be_written_does_not_stop_a_training(tmp_path):
    (tmp_path / RUN_FILE).mkdir()
    with recorded_session(tmp_path, FACTS):
        pass
