"""Checks of every segmentation network."""

import json

import torch
from torch.nn import functional

from visionkit.backbones import create_backbone
from visionkit.models import create_model

SIZES = [(64, 32), (37, 61), (7, 5), (1, 1)]


def rebuilt(net):
    """Return the network rebuilt from its spec through JSON, with the same weights."""
    spec = json.loads(json.dumps(net.spec))
    assert spec.pop("weights", None) is None
    again = create_model(spec.pop("name"), create_backbone(**spec.pop("backbone")), **spec)
    again.load_state_dict(net.state_dict())
    return again


def check_sizes(net):
    """Assert that the logits have the size of the image."""
    net.eval()
    with torch.no_grad():
        for size in SIZES:
            logits = net(torch.randn(1, 3, *size))
            assert logits.shape == (1, net.num_classes, *size)
            assert logits.isfinite().all()


def check_spec(net):
    """Assert that the spec rebuilds a network with the same weights and outputs."""
    again, x = rebuilt(net).eval(), torch.randn(1, 3, 33, 40)
    assert again.spec == net.spec
    with torch.no_grad():
        assert torch.equal(again(x), net.eval()(x))


def halves(size=32):
    """Return two noise images whose classes, left and right, depend on the brightness, and the classes."""
    x = torch.randn(2, 3, size, size) * 0.3
    classes = torch.zeros(2, size, size, dtype=torch.long)
    classes[0, :, : size // 2] = 1
    classes[1, :, size // 2 :] = 1
    return x + classes[:, None] * 2.0 - 1.0, classes


def check_learning(net, steps=25, lr=3e-3, accuracy=0.95, size=32):
    """Assert that every parameter gets a gradient, and that the network overfits one batch."""
    torch.manual_seed(0)
    x, classes = halves(size)
    optimizer = torch.optim.Adam(net.train().parameters(), lr=lr)
    reached = set()
    for _ in range(steps):
        optimizer.zero_grad()
        functional.cross_entropy(net(x), classes).backward()
        reached |= {name for name, p in net.named_parameters() if p.grad is not None and bool(p.grad.any())}
        optimizer.step()
    assert {name for name, _ in net.named_parameters()} - reached == set()
    assert float((net(x).argmax(1) == classes).float().mean()) > accuracy
