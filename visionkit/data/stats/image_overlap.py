"""Correlation of two thumbnails of which one may be a part of the other."""

import cv2
import numpy as np
from numpy.typing import NDArray

from visionkit.data.stats.image_descriptors import SIDE

Floats = NDArray[np.float32]

SCALES = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7)
"""Sides of the common part in the larger image, as a share of that image."""

MARGIN = 2
"""Pixels at each border that are left out at scale 1, so that small shifts are found."""

_FINE, _COARSE = 0.7, 5.3
"""Standard deviations in pixels of the Gaussian filters between which details are kept. Coarser ones, such as the
gradient of a sky or the light of a microscope, are alike in different images; finer ones do not survive encoding."""

MIN_CONTRAST = 1.0
"""Smallest standard deviation, in gray levels of 255, of what is compared."""


COPY, SMALL_COPY = 0.8, 0.9
"""Correlation of details from which two images are copies. Different images of photographs, blood smears and street
scenes reach 0.65; copies with a tenth cut off have 0.91 and more. Images below `SIDE` pixels have fewer details."""


def copy_threshold(side: int) -> float:
    """Return the correlation from which two images are copies, of which the smallest side has `side` pixels."""
    return SMALL_COPY if side < SIDE else COPY


def keep_details(thumbnail: NDArray[np.generic]) -> Floats:
    """Return a thumbnail [S, S] without its coarse gradients and finest details, float32."""
    image = np.ascontiguousarray(thumbnail, np.float32)
    return np.asarray(cv2.GaussianBlur(image, (0, 0), _FINE) - cv2.GaussianBlur(image, (0, 0), _COARSE), np.float32)


def best_correlation(details: Floats, others: Floats, enough: float) -> float:
    """Return the largest correlation of one image with a part of the other, over scales and shifts, in -1..1.

    Args:
        details: `keep_details` of a thumbnail, [S, S].
        others: the same of another thumbnail.
        enough: correlation from which on no further scale is tried.

    Example:
        >>> import numpy as np
        >>> from visionkit.data.stats.image_overlap import best_correlation, keep_details
        >>> image = np.random.default_rng(0).integers(0, 256, (64, 64)).astype(np.uint8)
        >>> round(best_correlation(keep_details(image), keep_details(image), 0.99), 3)
        1.0
    """
    if min(details.std(), others.std()) < MIN_CONTRAST:
        return -1.0
    best = -1.0
    for scale in SCALES:
        for whole, part in ((details, others), (others, details)) if scale < 1 else ((details, others),):
            best = max(best, _correlation(whole, part, scale))
        if best >= enough:
            break
    return best


def _correlation(whole: Floats, part: Floats, scale: float) -> float:
    """Return the largest correlation of a part, which is `scale` times as large, with any place in the whole image."""
    if scale < 1:
        template = cv2.resize(part, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    else:
        template = part[MARGIN:-MARGIN, MARGIN:-MARGIN]
    return float(cv2.matchTemplate(whole, np.ascontiguousarray(template), cv2.TM_CCOEFF_NORMED).max())
