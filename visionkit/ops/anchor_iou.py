"""IoU of box shapes and anchor shapes, independent of their positions."""

from torch import Tensor


def shape_iou(box_sizes: Tensor, anchor_sizes: Tensor) -> Tensor:
    """Compute the IoU of each box with each anchor when both share their center.

    Args:
        box_sizes: [..., N, 2], width and height in pixels of the model's input.
        anchor_sizes: [A, 2], width and height in pixels of the model's input.

    Returns:
        [..., N, A], in 0..1.
    """
    widths, heights = (box_sizes[..., None, :].minimum(anchor_sizes)).unbind(-1)
    intersection = widths * heights
    union = box_sizes.prod(-1)[..., None] + anchor_sizes.prod(-1) - intersection
    return intersection / union


def best_anchor_iou(box_sizes: Tensor, anchor_sizes: Tensor) -> Tensor:
    """Compute the best IoU of each box with any anchor when both share their center.

    It is an upper bound of the IoU with anchors on a grid. A box below the matching threshold becomes a positive
    example only as some anchor's best match.

    Args:
        box_sizes: [N, 2], width and height in pixels of the model's input.
        anchor_sizes: [A, 2], width and height in pixels of the model's input; A > 0.

    Returns:
        [N], in 0..1.
    """
    return shape_iou(box_sizes, anchor_sizes).amax(dim=1)
