"""Files of MNIST."""

import struct


def idx(values, kind=8, lengths=None):
    lengths = values.shape if lengths is None else lengths
    head = bytes([0, 0, kind, values.ndim]) + b"".join(struct.pack(">I", length) for length in lengths)
    return head + values.tobytes()
