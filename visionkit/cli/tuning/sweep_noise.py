"""Whether the number of validation images can tell the best trials of a sweep apart."""

import math
from collections.abc import Sequence


def compare_best(metrics: Sequence[float], images: int) -> str:
    """Return a sentence that compares the difference of the two best metrics with a standard error.

    The mean of n values from 0 to 1, one per image, has a standard error of at most sqrt(p (1 - p) / n), where p is the
    mean. For an accuracy it is exactly this. For AP and mIoU, which are no means over images, it is a rule of thumb.
    The trials are scored on the same images, so the error of their difference is often smaller.

    Args:
        metrics: main metric of each trial, in any order.
        images: number of validation images.

    Example:
        >>> from visionkit.cli.tuning.sweep_noise import compare_best
        >>> compare_best([0.9, 0.6], images=100)
        'The two best differ by 0.3000, 10 standard errors of the metric on 100 val images (up to 0.0300).'
    """
    ordered = sorted(metrics, reverse=True)
    if len(ordered) < 2 or images < 1 or not all(0 <= metric <= 1 for metric in ordered):
        return ""
    best = ordered[0]
    error = math.sqrt(max(best * (1 - best), ordered[1] * (1 - ordered[1])) / images)
    difference = best - ordered[1]
    on = f"of the metric on {images} val images (up to {error:.4f})"
    if error == 0 or difference >= error:
        many = f", {difference / error:.0f} standard errors {on}" if error else ""
        return f"The two best differ by {difference:.4f}{many}."
    close = sum(best - metric < error for metric in ordered)
    return (
        f"The two best differ by {difference:.4f}, less than one standard error {on}: this can be chance. "
        f"{close} of {len(ordered)} trials are that close to the best."
    )
