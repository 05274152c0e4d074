import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from visionkit.data.io.images import decode_image
from visionkit.data.io.jpeg_header import FrameHeader, find_frame_header, is_plain_jpeg

VALUES = np.random.default_rng(0).integers(0, 256, (21, 34, 3), np.uint8)


def jpeg(mode="RGB", **options):
    file = io.BytesIO()
    Image.fromarray(VALUES).convert(mode).save(file, "jpeg", **options)
    return file.getvalue()


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"exif": b"Exif\0\0" + bytes(300)}, {"comment": "x"}])
@pytest.mark.parametrize(("mode", "components"), [("L", 1), ("RGB", 3), ("CMYK", 4)])
def test_the_frame_is_found_in_every_kind_of_file(mode, components, options):
    data = jpeg(mode, **options)
    assert find_frame_header(data) == FrameHeader(8, 21, 34, components)
    assert is_plain_jpeg(data) == (components != 4)


def test_fill_bytes_before_a_marker_are_passed_over():
    data = jpeg()
    assert find_frame_header(data[:2] + b"\xff\xff\xff" + data[2:]) == find_frame_header(data)


@given(st.binary(max_size=60))
def test_no_bytes_make_it_fail(data):
    assert is_plain_jpeg(data) in (True, False)
    find_frame_header(b"\xff\xd8" + data)


@given(st.integers(0, 400))
def test_a_file_cut_short_is_not_plain(kept):
    data = jpeg()
    assert not is_plain_jpeg(data[: min(kept, len(data) - 2)])


def test_other_bits_and_huge_images_are_left_to_pillow():
    data = bytearray(jpeg())
    frame = data.index(b"\xff\xc0") + 4
    data[frame] = 12
    assert not is_plain_jpeg(bytes(data))
    data[frame : frame + 5] = b"\x08\xff\xff\xff\xff"
    assert not is_plain_jpeg(bytes(data))


@pytest.mark.parametrize("options", [{"subsampling": 0}, {"subsampling": 2}, {"progressive": True}, {"quality": 30}])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_decoded_pixels_are_pillows(mode, options):
    """Both decoders use one library, but may differ by rounding in the color conversion."""
    data = jpeg(mode, **options)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)
    assert np.abs(decode_image(data, "a.jpg") - expected).max() <= 1
