"""Files of weights, and a comparison of the weights of two layers."""

import torch


def saved(content, path):
    torch.save(content, path)
    return path


def checkpoint(network, path):
    state = {f"pipeline.network.{key}": value for key, value in network.state_dict().items()}
    return saved({"visionkit": {"format": 1}, "state_dict": {**state, "metric.total": torch.zeros(1)}}, path)


def same(layer, other):
    return all(torch.equal(value, other.state_dict()[key]) for key, value in layer.state_dict().items())
