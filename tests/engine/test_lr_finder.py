"""Lightning's finder in units of `optimizer.lr`, which leaves nothing behind."""

import math
import sys

import pytest
import torch

from tests.helpers.small_classifier import small_classification, small_images
from tests.helpers.small_multi import multi_data, multi_task
from tests.helpers.small_trainer import small_trainer
from visionkit.engine.lr_finder import TaskLRFinder
from visionkit.tasks import OptimizerOptions


def find(tmp_path, task, data, highest=1.0, steps=20, **options):
    """Run a finder, and return it. Nothing may be left in the folder."""
    finder = TaskLRFinder(1e-5, highest, steps)
    trainer = small_trainer(
        callbacks=[finder],
        max_epochs=-1,
        max_steps=steps,
        check_val_every_n_epoch=10**9,
        default_root_dir=tmp_path,
        **options,
    )
    trainer.fit(task, data)
    assert not [*tmp_path.iterdir()]
    assert trainer.global_step == 0
    return finder


def classification(data, **optimizer):
    options = {"name": "sgd", "lr": 0.02, "base_batch_size": 4, "weight_decay": 0.0, **optimizer}
    return small_classification(data.class_names, optimizer=OptimizerOptions(**options))


def used_lrs(monkeypatch, task):
    """Record the learning rates with which the backbone and the head change, as (is backbone, learning rate)."""
    used = []
    module = sys.modules[torch.optim.SGD.__module__]
    update = module.sgd
    backbone = {id(parameter) for parameter in task.backbone.parameters()}

    def spy(params, *others, lr, **options):
        used.append((id(params[0]) in backbone, lr))
        return update(params, *others, lr=lr, **options)

    monkeypatch.setattr(module, "sgd", spy)
    return used


def test_the_weights_are_those_of_before(tmp_path):
    data = small_images(train=16)
    task = classification(data)
    before = {name: value.clone() for name, value in task.state_dict().items()}
    curve = find(tmp_path, task, data).curve
    assert all(torch.equal(value, before[name]) for name, value in task.state_dict().items())
    assert len(curve.lrs) == 20
    assert curve.lrs[0] == pytest.approx(1e-5)
    assert curve.lrs[-1] == pytest.approx(1.0)


def test_groups_keep_the_factors_of_the_effective_batch_and_the_backbone(tmp_path, monkeypatch):
    data = small_images(train=16)
    task = classification(data, base_batch_size=16, backbone_lr_factor=0.1)
    used = used_lrs(monkeypatch, task)
    lrs = find(tmp_path, task, data, accumulate_grad_batches=2).curve.lrs
    of_head = [lr for is_backbone, lr in used if not is_backbone]
    of_backbone = sorted({lr for is_backbone, lr in used if is_backbone})
    assert of_head == pytest.approx(lrs * 8 / 16)
    assert of_backbone == pytest.approx(lrs * 0.1 * 8 / 16)


def test_the_loss_of_a_step_is_the_mean_of_its_batches(tmp_path):
    """With a learning rate near 0, the steps of an epoch have the losses that its batches have."""
    data = small_images(train=16)
    single = find(tmp_path, classification(data), data, highest=2e-5).curve.losses
    double = find(tmp_path, classification(data), data, highest=2e-5, accumulate_grad_batches=2).curve.losses
    assert double[:2] == pytest.approx([single[:2].mean(), single[2:4].mean()], rel=0.02)


def test_frozen_layers_stay_frozen(tmp_path, monkeypatch):
    data = small_images(train=16)
    task = classification(data)
    task.backbone.requires_grad_(False)
    used = used_lrs(monkeypatch, task)
    find(tmp_path, task, data)
    assert len(used) == 20
    assert not any(is_backbone for is_backbone, _ in used)


def test_a_loss_that_is_not_finite_ends_the_test(tmp_path, monkeypatch):
    data = small_images(train=16)
    task = classification(data)
    before = {name: value.clone() for name, value in task.state_dict().items()}
    losses = task.training_losses

    def diverging(batch, step):
        return {name: loss * (math.nan if step >= 8 else 1) for name, loss in losses(batch, step).items()}

    monkeypatch.setattr(task, "training_losses", diverging)
    curve = find(tmp_path, task, data).curve
    assert len(curve.losses) == 8
    assert all(math.isfinite(loss) for loss in curve.losses)
    assert all(torch.equal(value, before[name]) for name, value in task.state_dict().items())


def test_a_model_of_several_heads_is_tested_as_a_whole(tmp_path):
    data = multi_data("regions", "tags")
    curve = find(tmp_path, multi_task(data), data, steps=4).curve
    assert len(curve.losses) == 4
    assert all(math.isfinite(loss) for loss in curve.losses)
