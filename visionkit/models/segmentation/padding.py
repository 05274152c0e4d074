"""Networks that halve and double maps, on pictures of any size."""

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional


def at_any_size(network: Callable[[Tensor], Tensor], x: Tensor, multiple: int, smallest: int = 0) -> Tensor:
    """Run a network that needs sides of whole multiples on pictures of any size.

    Zeros, which after normalising are the mean colour, are added to the right and below, and what the network says
    of them is cut away: what it says of the picture stands where the picture stands.

    Args:
        network: from [B, 3, h, w] to [B, K, h, w], with h and w multiples of `multiple`.
        x: [B, 3, H, W].
        multiple: in pixels, as a rule the network's total stride.
        smallest: height and width that the network needs at least, a multiple of `multiple`.

    Returns:
        [B, K, H, W].
    """
    height, width = x.shape[-2:]
    below, right = (max(-side % multiple, smallest - side) for side in (height, width))
    if not (below or right):
        return network(x)
    return network(functional.pad(x, (0, right, 0, below)))[..., :height, :width]
