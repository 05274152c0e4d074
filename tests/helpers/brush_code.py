"""A run-length code of Label Studio's brush, and its mask."""

import numpy as np

CODE = [0, 0, 0, 60, 57, 27, 252, 127, 248, 92, 2, 127, 252, 46, 0]
"""What `label_studio_sdk.converter.brush.mask2rle` returns for `MASK`."""

MASK = np.array([[1, 0, 0, 0, 0], [0, 0, 1, 1, 0], [0, 0, 0, 0, 0]], bool)
