"""What a JPEG file's header says, read without a decoder: Pillow takes longer to open a file than OpenCV can spare."""

import struct
from typing import NamedTuple

SEGMENT = struct.Struct(">BBH")
"""A segment's start: 0xFF, its marker, the length of what follows the marker."""

FRAME = struct.Struct(">BHHB")
"""What a frame's segment begins with: bits of a value, height, width, number of components."""

FRAME_MARKERS = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""SOF0 to SOF15; the three between them mean something else (ITU T.81, table B.1)."""

START, END = b"\xff\xd8", b"\xff\xd9"
TAIL = 4096
"""Bytes at the end in which a whole file's end is looked for: some programs write something after it."""

MOST_PIXELS = 89_478_485
"""Larger images are left to Pillow, which warns of them or refuses them."""


class Frame(NamedTuple):
    """Bits of a value, size in pixels as stored, and components (1 gray, 3 color, 4 CMYK)."""

    bits: int
    height: int
    width: int
    components: int


def is_plain_jpeg(data: bytes) -> bool:
    """Tell whether a file is a whole 8-bit gray or color JPEG: OpenCV fills what is missing with gray."""
    frame = find_frame(data) if data.startswith(START) and END in data[-TAIL:] else None
    if frame is None:
        return False
    return frame.bits == 8 and frame.components in (1, 3) and frame.height * frame.width <= MOST_PIXELS


def find_frame(data: bytes) -> Frame | None:
    """The frame header of a JPEG file, or None where its segments do not lead to one."""
    at = len(START)
    while at + SEGMENT.size + FRAME.size <= len(data):
        fill, marker, length = SEGMENT.unpack_from(data, at)
        if fill != 0xFF:
            return None
        if marker in FRAME_MARKERS:
            return Frame(*FRAME.unpack_from(data, at + SEGMENT.size))
        at += 1 if marker == 0xFF else 2 + length  # any number of fill bytes may stand before a marker
    return None
