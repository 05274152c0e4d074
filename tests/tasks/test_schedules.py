import logging

import pytest
import torch

from visionkit.errors import ConfigError
from visionkit.tasks.schedules import ScheduleOptions, make_scheduler, schedules


def rates(options: ScheduleOptions, steps: int, epochs: int) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    (config,) = make_scheduler(optimizer, options, steps, epochs, "val/AP")
    seen = []
    for _ in range(steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        config["scheduler"].step()
    return seen


def test_multistep_with_warmup_follows_the_published_schedule():
    options = ScheduleOptions(name="multistep", warmup_steps=10, warmup_factor=0.1, milestones=[8, 11])
    seen = rates(options, steps=120, epochs=12)
    assert seen[0] == pytest.approx(0.1)
    assert seen[5] == pytest.approx(0.55)
    assert seen[10] == seen[79] == pytest.approx(1.0)
    assert seen[80] == seen[109] == pytest.approx(0.1)
    assert seen[110] == pytest.approx(0.01)


def test_the_warmup_is_at_most_a_tenth_of_the_run(caplog):
    caplog.set_level(logging.INFO, "visionkit")
    seen = rates(ScheduleOptions(name="constant", warmup_steps=100, warmup_factor=0.0), steps=150, epochs=30)
    assert seen[:15] == pytest.approx([step / 15 for step in range(15)])
    assert seen[15:] == [1.0] * 135
    assert "warmup of 15 steps, not 100" in caplog.text


def test_a_short_warmup_is_unchanged(caplog):
    caplog.set_level(logging.INFO, "visionkit")
    seen = rates(ScheduleOptions(name="constant", warmup_steps=15, warmup_factor=0.0), steps=150, epochs=30)
    assert seen[14] < 1 == seen[15]
    assert "warmup" not in caplog.text


def test_exponential_falls_once_an_epoch():
    seen = rates(ScheduleOptions(name="exponential", warmup_steps=0, gamma=0.995), steps=21, epochs=7)
    assert seen == pytest.approx([0.995 ** (step // 3) for step in range(21)])


def test_poly_falls_as_a_power_of_what_is_left():
    seen = rates(ScheduleOptions(name="poly", warmup_steps=0, power=0.9), steps=10, epochs=5)
    assert seen == pytest.approx([(1 - step / 10) ** 0.9 for step in range(10)])


def test_cosine_falls_to_its_final_share():
    seen = rates(ScheduleOptions(name="cosine", warmup_steps=0, final_factor=0.1), steps=100, epochs=10)
    assert seen[0] == 1.0
    assert seen[50] == pytest.approx(0.55)
    assert seen == sorted(seen, reverse=True)
    assert seen[-1] == pytest.approx(0.1, abs=1e-3)


def test_plateau_warms_up_and_then_waits_for_the_metric():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    options = ScheduleOptions(name="plateau", warmup_steps=4, warmup_factor=0.25, patience=1)
    plateau, warmup = make_scheduler(optimizer, options, 100, 10, "val/AP")
    assert plateau["monitor"] == "val/AP"
    assert optimizer.param_groups[0]["lr"] == 0.25
    for _ in range(6):
        optimizer.step()
        warmup["scheduler"].step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(1.0)
    for value in (0.5, 0.4, 0.4):
        plateau["scheduler"].step(value)
        warmup["scheduler"].step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.1)


def test_milestones_beyond_the_run_are_reported(caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("visionkit"), "propagate", True)
    rates(ScheduleOptions(milestones=[8, 11]), steps=10, epochs=5)
    assert "not all reached" in caplog.text


def test_names_are_those_of_the_registry():
    for name in (*schedules, "plateau"):
        assert ScheduleOptions(name=name).name == name
    with pytest.raises(ConfigError, match="unknown schedule 'cosinus'; did you mean cosine"):
        ScheduleOptions(name="cosinus")


def test_darknets_burn_in_rises_by_the_fourth_power():
    options = ScheduleOptions(name="constant", warmup_steps=10, warmup_factor=0.0, warmup_power=4)
    seen = rates(options, steps=100, epochs=1)
    assert seen == pytest.approx([(step / 10) ** 4 for step in range(10)] + [1] * 90)


def test_the_warmup_of_plateau_is_linear():
    with pytest.raises(ConfigError, match="warmup_power"):
        ScheduleOptions(name="plateau", warmup_power=4)
