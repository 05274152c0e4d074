import logging

import pytest
import torch

from visionkit.backbones import create_backbone
from visionkit.errors import CheckpointError
from visionkit.models import create_model

NETWORKS = {
    "fast_rcnn": (["s16"], {"head_channels": 16}, "roi_heads.box_predictor."),
    "rfcn": (["s16"], {"head_channels": 16, "cells": 3}, "neck.scores."),
    "yolov1": (["s32"], {"head_channels": 16, "hidden": 16, "grid": 3}, "head.layers.5."),
    "yolov1 without connected layers": (["s32"], {"head_channels": 16, "head": "convolutional"}, "head.layers."),
    "yolov2": (["s16", "s32"], {"head_channels": 16}, "head.predictor."),
    "unet": (None, {}, "classifier."),
}
"""Stages and options of networks that nobody publishes values of, and where their predictors' keys begin."""
EVERY = pytest.mark.parametrize("name", NETWORKS)


def network(name, num_classes=3, **options):
    stages, own, _ = NETWORKS[name]
    backbone = create_backbone("resnet18", weights="none", out_stages=stages)
    return create_model(name.split()[0], backbone, num_classes, **own, **options)


def checkpoint(some, path):
    state = {f"pipeline.network.{key}": value for key, value in some.state_dict().items()}
    torch.save({"visionkit": {"format": 1}, "state_dict": state}, path)
    return str(path)


@EVERY
def test_a_checkpoint_gives_the_whole_network(name, tmp_path, caplog):
    trained = network(name)
    path = checkpoint(trained, tmp_path / "best.ckpt")
    with caplog.at_level(logging.WARNING, "visionkit"):
        again = network(name, weights=path)
    assert caplog.text == ""
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in trained.state_dict().items())
    assert again.backbone.initialized_from == path
    assert not again.backbone.is_randomly_initialized


@EVERY
def test_what_predicts_other_classes_stays_new(name, tmp_path, caplog):
    predictor, trained = NETWORKS[name][2], network(name)
    path = checkpoint(trained, tmp_path / "best.ckpt")
    torch.manual_seed(1)
    fresh = network(name, 7).state_dict()
    torch.manual_seed(1)
    with caplog.at_level(logging.WARNING, "visionkit"):
        again = network(name, 7, weights=path).state_dict()
    assert f"another number of classes: {predictor.rstrip('.')}" in caplog.text
    assert any(key.startswith(predictor) for key in again)
    for key, value in again.items():
        assert torch.equal(value, fresh[key] if key.startswith(predictor) else trained.state_dict()[key]), key


def test_other_widths_are_refused_whatever_the_classes(tmp_path):
    path = checkpoint(network("yolov2"), tmp_path / "best.ckpt")
    backbone = create_backbone("resnet18", weights="none", out_stages=["s16", "s32"])
    with pytest.raises(CheckpointError, match=r"of another shape .*head\.predictor"):
        create_model("yolov2", backbone, 7, head_channels=8, weights=path)
