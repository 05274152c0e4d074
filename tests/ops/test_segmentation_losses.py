import math

import pytest
import torch
from torch.nn import functional

from visionkit.errors import ConfigError
from visionkit.ops.segmentation_losses import Settings, losses, segmentation_loss


def pixels(seed=0, images=2, classes=3, side=6, void=0.2):
    """Logits and classes, some of them to be ignored."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(images, classes, side, side, generator=generator, requires_grad=True)
    truth = torch.randint(classes, (images, side, side), generator=generator)
    return logits, truth.masked_fill(torch.rand(truth.shape, generator=generator) < void, 255)


def slow(logits, truth):
    """Return -log p, class and image of each pixel that is not ignored."""
    rows = []
    for image in range(len(truth)):
        for row in range(truth.shape[1]):
            for column in range(truth.shape[2]):
                label = int(truth[image, row, column])
                if label != 255:
                    probabilities = logits.detach()[image, :, row, column].softmax(0)
                    rows.append((-math.log(probabilities[label]), label, image))
    return rows


@pytest.mark.parametrize("weights", [None, [0.5, 2.0, 1.0]])
def test_cross_entropy_is_the_weighted_mean_over_pixels_that_count(weights):
    logits, truth = pixels()
    found = segmentation_loss(logits, truth, {"cross_entropy": 1.0}, None if weights is None else torch.tensor(weights))
    rows = [(value, (weights or [1, 1, 1])[label]) for value, label, _ in slow(logits, truth)]
    assert found.item() == pytest.approx(sum(v * w for v, w in rows) / sum(w for _, w in rows), rel=1e-5)


def test_focal_weights_wrong_pixels_more():
    logits, truth = pixels()
    rows = slow(logits, truth)
    expected = sum((1 - math.exp(-value)) ** 2 * value for value, _, _ in rows) / len(rows)
    assert segmentation_loss(logits, truth, {"focal": 1.0}).item() == pytest.approx(expected, rel=1e-5)
    without = segmentation_loss(logits, truth, {"focal": 1.0}, settings=Settings(gamma=0.0))
    assert without.item() == pytest.approx(segmentation_loss(logits, truth, {"cross_entropy": 1.0}).item(), rel=1e-6)


def test_bootstrapped_takes_the_hardest_pixels_of_each_image():
    logits, truth = pixels()
    rows = slow(logits, truth)
    hardest = [sorted((v for v, _, own in rows if own == image), reverse=True)[:9] for image in range(2)]
    found = segmentation_loss(logits, truth, {"bootstrapped": 1.0}, settings=Settings(hard_fraction=0.25))
    assert found.item() == pytest.approx(sum(map(sum, hardest)) / 18, rel=1e-5)
    found.backward()
    assert int((logits.grad.abs().sum(1) > 0).sum()) == 18


def test_dice_and_jaccard_of_masks_by_hand():
    """Class 0 predicted on four pixels and true on two of them: Dice 2*2/(4+2), Jaccard 2/4; class 1 likewise."""
    logits = torch.full((1, 2, 2, 4), -40.0)
    logits[0, 0, :, :2] = 40
    logits[0, 1, :, 2:] = 40
    truth = torch.tensor([[[0, 1, 1, 1], [0, 1, 1, 1]]])
    assert segmentation_loss(logits, truth, {"dice": 1.0}).item() == pytest.approx(1 - (4 / 6 + 8 / 10) / 2)
    assert segmentation_loss(logits, truth, {"jaccard": 1.0}).item() == pytest.approx(1 - (2 / 4 + 4 / 6) / 2)
    absent = torch.full((1, 3, 2, 4), -40.0)
    absent[:, :2] = logits
    assert segmentation_loss(absent, truth, {"dice": 1.0}).item() == pytest.approx(1 - (4 / 6 + 8 / 10) / 2)


@pytest.mark.parametrize("name", list(losses))
def test_what_is_ignored_changes_nothing(name):
    logits, truth = pixels()
    other = logits.detach().clone()
    other[(truth == 255)[:, None].expand_as(other)] += 7
    assert segmentation_loss(other, truth, {name: 1.0}).item() == pytest.approx(
        segmentation_loss(logits, truth, {name: 1.0}).item(), rel=1e-6
    )


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("name", list(losses))
def test_a_mask_of_nothing_but_void_gives_zero_and_no_gradient(name, gamma):
    logits, truth = pixels()
    loss = segmentation_loss(logits, torch.full_like(truth, 255), {name: 1.0}, settings=Settings(gamma=gamma))
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


@pytest.mark.parametrize("name", list(losses))
def test_each_loss_learns(name):
    logits, truth = pixels(void=0.0)
    values = logits.detach().clone().requires_grad_()
    optimizer = torch.optim.Adam([values], lr=0.3)
    for _ in range(150):
        optimizer.zero_grad()
        segmentation_loss(values, truth, {name: 1.0}).backward()
        optimizer.step()
    assert (values.argmax(1) == truth).float().mean() > 0.95


def test_terms_are_added_in_float32():
    logits, truth = pixels()
    both = segmentation_loss(logits, truth, {"cross_entropy": 0.5, "dice": 2.0})
    single = [segmentation_loss(logits, truth, {name: 1.0}) for name in ("cross_entropy", "dice")]
    assert both.item() == pytest.approx(0.5 * single[0].item() + 2 * single[1].item())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert segmentation_loss(logits.bfloat16(), truth, {"dice": 1.0}).dtype == torch.float32
    expected = functional.cross_entropy(logits, truth, ignore_index=255)
    assert segmentation_loss(logits, truth, {"cross_entropy": 1.0}).item() == pytest.approx(expected.item())


def test_an_unknown_loss_is_told():
    with pytest.raises(ConfigError, match="did you mean dice"):
        segmentation_loss(*pixels(), {"dize": 1.0})
