"""What every segmentation network must do."""

import json

import torch
from torch.nn import functional

from visionkit.backbones import create_backbone
from visionkit.models import create_model

SIZES = [(64, 32), (37, 61), (7, 5), (1, 1)]


def rebuilt(net):
    """The network that its spec describes, through JSON, with its values."""
    spec = json.loads(json.dumps(net.spec))
    assert spec.pop("weights", None) is None
    again = create_model(spec.pop("name"), create_backbone(**spec.pop("backbone")), **spec)
    again.load_state_dict(net.state_dict())
    return again


def check_sizes(net):
    """Logits as large as the image, whatever its size."""
    net.eval()
    with torch.no_grad():
        for size in SIZES:
            logits = net(torch.randn(1, 3, *size))
            assert logits.shape == (1, net.num_classes, *size)
            assert logits.isfinite().all()


def check_spec(net):
    """The spec gives a network of the same values and the same answers."""
    again, x = rebuilt(net).eval(), torch.randn(1, 3, 33, 40)
    assert again.spec == net.spec
    with torch.no_grad():
        assert torch.equal(again(x), net.eval()(x))


def halves(size=32):
    """Two images of noise whose class the brightness tells, left and right, and their classes."""
    x = torch.randn(2, 3, size, size) * 0.3
    classes = torch.zeros(2, size, size, dtype=torch.long)
    classes[0, :, : size // 2] = 1
    classes[1, :, size // 2 :] = 1
    return x + classes[:, None] * 2.0 - 1.0, classes


def check_learning(net, steps=25, lr=3e-3, accuracy=0.95, size=32):
    """Every parameter gets a gradient, and one batch is learned by heart."""
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
