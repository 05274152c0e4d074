"""Groups of images that can share a batch without changing each other's predictions."""

from collections.abc import Sequence

from torch import Tensor


def group_by_shape(images: Sequence[Tensor]) -> list[list[int]]:
    """Return the indices of images in groups of equal shape.

    Images of one group need no padding. Padding a smaller image would change the output of convolutions near its
    border. Its prediction would then depend on the batch, and `test` would not agree with `predict`.
    """
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, image in enumerate(images):
        groups.setdefault(tuple(image.shape), []).append(index)
    return list(groups.values())
