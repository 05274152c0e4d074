"""Which images may share a batch without changing each other's predictions."""

from collections.abc import Sequence

from torch import Tensor


def group_by_shape(images: Sequence[Tensor]) -> list[list[int]]:
    """Indices of images that fill a batch without padding each other.

    A convolution sees into the padding beside a smaller image: predicted together with a larger one it would get
    another result than alone, and `test` would not agree with `predict`.
    """
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, image in enumerate(images):
        groups.setdefault(tuple(image.shape), []).append(index)
    return list(groups.values())
