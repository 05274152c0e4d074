"""Run-length codes of Label Studio's brush."""

import pytest

from tests.helpers.brush_code import CODE, MASK
from visionkit.data.datasets.label_studio_brush import decode_brush
from visionkit.errors import DataError


def test_a_code_of_label_studio():
    assert (decode_brush(CODE, (3, 5), "task 1") == MASK).all()


def test_values_that_are_not_repeated():
    header = f"{8:032b}" + f"{7:05b}" + f"{0:04b}" * 4
    literal = "0" + "00" + "1"  # a length of 1 + 1
    bits = header + "".join(literal + f"{first:08b}{second:08b}" for first, second in ((9, 9), (9, 0), (0, 0), (0, 1)))
    bits += "0" * (-len(bits) % 8)
    codes = [int(bits[start : start + 8], 2) for start in range(0, len(bits), 8)]
    assert decode_brush(codes, (1, 2), "task 1").tolist() == [[False, True]]


@pytest.mark.parametrize(
    ("codes", "size", "said"),
    [
        (CODE[:-3], (3, 5), "task 1: .* does not fit its image of 3 x 5 pixels: it ends too early"),
        (CODE[:3], (3, 5), "it ends too early"),
        ([], (3, 5), "it ends too early"),
        (CODE, (3, 4), "it has 60 values of 8 bits"),
        ([255] * 20, (3, 5), "it has 4294967295 values of 32 bits"),
        ([0, 0, 0, 60, 57, 27, 255, 255, 255, 255, 255], (3, 5), "it is too long"),
        ([*CODE[:-1], 256], (3, 5), "must be a list of bytes"),
        ([*CODE[:-1], -1], (3, 5), "must be a list of bytes"),
        ([*CODE[:-1], 0.0], (3, 5), "must be a list of bytes"),
        ([*CODE[:-1], None], (3, 5), "must be a list of bytes"),
    ],
)
def test_other_codes_are_refused(codes, size, said):
    with pytest.raises(DataError, match=said):
        decode_brush(codes, size, "task 1")
