"""Speed of U-Net on ResNet-34, compared with segmentation_models.pytorch, interleaved in one process.

The backbone is timm's, which has the map of stride 2 that smp's U-Net uses. The last layer of smp's network is
replaced by a 1x1 convolution like ours. Equal outputs with equal weights are checked before the measurement. The task
uses channels-last; smp is measured in its default layout and in channels-last.

Needs `pip install segmentation-models-pytorch`; run by hand on an idle machine:
pytest -m benchmark -o addopts="" -s tests/benchmarks/test_segmentation_speed.py
"""

import pytest
import torch

from tests.benchmarks.speed_table.segmenters import contenders, smps_unet, unet
from tests.benchmarks.speed_table.setting import default_setting
from tests.benchmarks.speed_table.timing import compare

pytest.importorskip("segmentation_models_pytorch")

BOUND = 1.0

pytestmark = pytest.mark.benchmark


def give_values(ours, theirs):
    """Load smp's weights into ours: the order of layers is the same, but smp concatenates the skip last."""
    state = dict(zip(ours.state_dict(), theirs.state_dict().values(), strict=True))
    for number, up in enumerate(ours.ups):
        name = f"ups.{number}.convs.0.weight"
        inputs = ours.ups[number - 1].convs[-3].out_channels if number else 512
        below, skip = state[name].split([inputs, up.convs[0].in_channels - inputs], 1)
        state[name] = torch.cat([skip, below], 1)
    ours.load_state_dict(state)


def test_the_two_are_the_same_network():
    torch.manual_seed(0)
    ours, theirs = unet().eval(), smps_unet().eval()
    give_values(ours, theirs)
    x = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        expected = theirs(x)
        torch.testing.assert_close(ours(x), expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("job", ["training", "inference"])
def test_it_takes_no_longer_than_the_peers(job, capsys):
    found = compare(contenders("unet_resnet34", default_setting(job)), rounds=12)
    with capsys.disabled():
        print(f"\n{job}: {found.in_words()}")
    assert found.ratio("segmentation_models.pytorch").median <= BOUND
