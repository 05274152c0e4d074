"""Which pictures may share a batch without changing each other's predictions."""

from collections.abc import Sequence

from torch import Tensor


def groups_of_equal_shape(pictures: Sequence[Tensor]) -> list[list[int]]:
    """Indices of pictures that fill a batch without padding each other.

    A convolution sees into the padding beside a smaller picture: predicted together with a larger one it would get
    another result than alone, and `test` would not agree with `predict`.
    """
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, picture in enumerate(pictures):
        groups.setdefault(tuple(picture.shape), []).append(index)
    return list(groups.values())
