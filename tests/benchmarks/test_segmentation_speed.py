"""Speed of U-Net on ResNet-34, compared with segmentation_models.pytorch, interleaved in one process.

The backbone is timm's, which has the map of stride 2 that smp's U-Net uses. The last layer of smp's network is
replaced by a 1x1 convolution like ours. Equal outputs with equal weights are checked before the measurement. The task
uses channels-last; smp is measured in its default layout and in channels-last. The network that is built first gets
slower memory, so every order is measured. CPU time of one core is measured, because other processes disturb it less.

Needs `pip install segmentation-models-pytorch`; run by hand on an idle machine:
pytest -m benchmark -o addopts="" -s tests/benchmarks/test_segmentation_speed.py
"""

import statistics
import time

import pytest
import torch
from torch import nn
from torch.nn import functional

from visionkit.backbones import create_backbone
from visionkit.models import create_model

peer = pytest.importorskip("segmentation_models_pytorch")

CLASSES, IMAGES, SIDE = 11, 2, 224
WARM_UP, ROUNDS = 1, 6
BOUND = 1.0

pytestmark = pytest.mark.benchmark


def unet():
    return create_model("unet", create_backbone("timm/resnet34", weights="none"), CLASSES)


def peers_unet():
    network = peer.Unet("resnet34", encoder_weights=None, classes=CLASSES)
    network.segmentation_head = nn.Conv2d(16, CLASSES, 1)
    return network


VARIANTS = {
    "ours": (unet, torch.channels_last),
    "peer": (peers_unet, torch.contiguous_format),
    "peer channels-last": (peers_unet, torch.channels_last),
}
"""Function that builds each network, and its memory layout."""


def give_values(ours, theirs):
    """Load smp's weights into ours: the order of layers is the same, but smp concatenates the skip last."""
    state = dict(zip(ours.state_dict(), theirs.state_dict().values(), strict=True))
    for number, up in enumerate(ours.ups):
        name = f"ups.{number}.convs.0.weight"
        inputs = ours.ups[number - 1].convs[-3].out_channels if number else 512
        below, skip = state[name].split([inputs, up.convs[0].in_channels - inputs], 1)
        state[name] = torch.cat([skip, below], 1)
    ours.load_state_dict(state)


def training_step(network, images, labels):
    for parameter in network.parameters():
        parameter.grad = None
    functional.cross_entropy(network(images), labels).backward()


def inference(network, images, labels):
    with torch.inference_mode():
        network(images)


def seconds(run, *given):
    start = time.process_time()
    run(*given)
    return time.process_time() - start


def times(run, names):
    """Return the seconds of each network, one row per round; the networks are built in the order of their names."""
    images, labels = torch.randn(IMAGES, 3, SIDE, SIDE), torch.randint(0, CLASSES, (IMAGES, SIDE, SIDE))
    networks = {}
    for name in names:
        build, layout = VARIANTS[name]
        network = build().train(run is training_step).to(memory_format=layout)
        networks[name] = network, images.contiguous(memory_format=layout), labels
    rows = []
    for round_number in range(WARM_UP + ROUNDS):
        order = names if round_number % 2 == 0 else names[::-1]  # none always follows another
        rows.append({name: seconds(run, *networks[name]) for name in order})
    return rows[WARM_UP:]


def test_the_two_are_the_same_network():
    torch.manual_seed(0)
    ours, theirs = unet().eval(), peers_unet().eval()
    give_values(ours, theirs)
    x = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        expected = theirs(x)
        torch.testing.assert_close(ours(x), expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("run", [training_step, inference])
def test_it_takes_no_longer_than_the_peers(run, capsys):
    torch.manual_seed(0)
    torch.set_num_threads(1)
    names = list(VARIANTS)
    rows = [row for order in (names, names[::-1]) for row in times(run, order)]
    ratios = {name: statistics.median(row["ours"] / row[name] for row in rows) for name in names}
    with capsys.disabled():
        print(f"\n{run.__name__}, {IMAGES} images of {SIDE}:", end=" ")
        print(", ".join(f"{name} {statistics.median(row[name] for row in rows):.3f} s" for name in names), end="; ")
        print(f"ratio {ratios['peer']:.3f}, at equal layout {ratios['peer channels-last']:.3f}")
    assert ratios["peer"] <= BOUND
