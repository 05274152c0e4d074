import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pycocotools import mask as rle

from visionkit.data.datasets import run_length_check
from visionkit.data.datasets.run_length_check import find_invalid_codes


def reference(code, num_pixels):
    """Decode one code number by number, as rleFrString does, but with checks."""
    counts, position = [], 0
    while position < len(code):
        number, shift, more = 0, 0, True
        while more:
            if position == len(code) or not 0 <= code[position] - 48 < 64 or shift == 35:
                return False
            value = code[position] - 48
            number |= (value & 0x1F) << shift
            position, shift, more = position + 1, shift + 5, bool(value & 0x20)
        if value & 0x10:
            number -= 1 << shift
        counts.append(number + (counts[-2] if len(counts) > 2 else 0))
    return bool(counts) and min(counts) >= 0 and sum(counts) == num_pixels


masks = arrays.arrays(np.uint8, arrays.array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.integers(0, 1))


@given(st.lists(masks, max_size=5))
def test_codes_of_pycocotools_are_valid_for_their_size_alone(planes):
    codes = [rle.encode(np.asfortranarray(plane))["counts"] for plane in planes]
    pixels = np.array([plane.size for plane in planes], np.int64)
    assert not find_invalid_codes(codes, pixels).any()
    assert find_invalid_codes(codes, pixels + 1).all()


@given(st.lists(st.tuples(st.text(st.characters(max_codepoint=127), max_size=12), st.integers(1, 60)), max_size=6))
def test_any_text_is_judged_as_the_reference_judges_it(cases):
    codes, pixels = [text.encode() for text, _ in cases], np.array([size for _, size in cases], np.int64)
    assert find_invalid_codes(codes, pixels).tolist() == [
        not reference(*case) for case in zip(codes, pixels, strict=True)
    ]


@given(st.lists(st.tuples(masks, st.integers(0, 99), st.integers(48, 111)), min_size=1, max_size=5))
def test_one_changed_character_is_judged_as_the_reference_judges_it(cases):
    codes, pixels = [], []
    for plane, position, character in cases:
        code = bytearray(rle.encode(np.asfortranarray(plane))["counts"])
        code[position % len(code)] = character
        codes.append(bytes(code))
        pixels.append(plane.size)
    expected = [not reference(*case) for case in zip(codes, pixels, strict=True)]
    assert find_invalid_codes(codes, np.array(pixels)).tolist() == expected


def test_chunks_change_nothing(monkeypatch):
    planes = [np.eye(side, dtype=np.uint8) for side in range(1, 20)]
    codes = [*(rle.encode(np.asfortranarray(plane))["counts"] for plane in planes), b"", b"0", b"235"]
    pixels = np.array([*(plane.size for plane in planes), 4, 1, 10])
    whole = find_invalid_codes(codes, pixels)
    assert np.flatnonzero(whole).tolist() == [19, 20]
    monkeypatch.setattr(run_length_check, "CHUNK_BYTES", 10)
    np.testing.assert_array_equal(find_invalid_codes(codes, pixels), whole)


def test_long_runs_and_long_numbers():
    plane = np.zeros((9000, 9000), np.uint8)
    plane[4000:4100, 8000:] = 1
    code = rle.encode(np.asfortranarray(plane))["counts"]
    assert not find_invalid_codes([code], np.array([plane.size])).any()
    assert find_invalid_codes([b"o" * 30 + b"0"], np.array([4])).all()
