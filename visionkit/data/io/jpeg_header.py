"""Reading the header of a JPEG file without a decoder. Opening a file with Pillow would take too long."""

import struct
from typing import NamedTuple

SEGMENT = struct.Struct(">BBH")
"""Start of a segment: 0xFF, the marker, and the length of the segment after the marker."""

FRAME = struct.Struct(">BHHB")
"""Start of a frame header: bits per value, height, width, number of components."""

FRAME_MARKERS = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""SOF0 to SOF15; the three markers between them have other meanings (ITU T.81, table B.1)."""

START, END = b"\xff\xd8", b"\xff\xd9"
TAIL_BYTES = 4096
"""Bytes at the end of a file in which the end marker is searched; some programs write data after it."""

MAX_PIXELS = 89_478_485
"""Larger images are left to Pillow, which warns about them or refuses them."""


class FrameHeader(NamedTuple):
    """Bits per value, stored size in pixels, and number of components (1 gray, 3 color, 4 CMYK)."""

    bits: int
    height: int
    width: int
    components: int


def is_plain_jpeg(data: bytes) -> bool:
    """Return whether a file is a complete 8-bit gray or color JPEG. OpenCV would fill missing parts with gray."""
    frame = find_frame_header(data) if data.startswith(START) and END in data[-TAIL_BYTES:] else None
    if frame is None:
        return False
    return frame.bits == 8 and frame.components in (1, 3) and frame.height * frame.width <= MAX_PIXELS


def find_frame_header(data: bytes) -> FrameHeader | None:
    """Return the frame header of a JPEG file; None if no segment is a frame header."""
    position = len(START)
    while position + SEGMENT.size + FRAME.size <= len(data):
        fill, marker, length = SEGMENT.unpack_from(data, position)
        if fill != 0xFF:
            return None
        if marker in FRAME_MARKERS:
            return FrameHeader(*FRAME.unpack_from(data, position + SEGMENT.size))
        position += 1 if marker == 0xFF else 2 + length  # any number of fill bytes may precede a marker
    return None
