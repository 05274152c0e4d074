import numpy as np
import pytest
from PIL import Image

from visionkit.data.io.masks import MaskDecoder, read_mask, read_palette
from visionkit.errors import DataError

INDICES = np.array([[0, 1, 2], [3, 11, 255]], np.uint8)


def saved(tmp_path, values, mode=None, name="mask.png", palette=None, **options):
    image = Image.fromarray(values) if mode is None else Image.frombytes(mode, values.shape[::-1], values.tobytes())
    if palette is not None:
        image.putpalette(palette)
    image.save(tmp_path / name, **options)
    return tmp_path / name


def test_a_palettes_indices_are_kept_and_not_its_brightness(tmp_path):
    palette = [0, 0, 0, 255, 255, 255, 7, 7, 7] + [9, 100, 200] * 253
    path = saved(tmp_path, INDICES, "P", palette=palette)
    assert read_mask(path).tolist() == INDICES.tolist()
    assert np.asarray(Image.open(path).convert("L")).tolist() != INDICES.tolist(), "what must not be read"
    assert read_palette(path)[:4] == [(0, 0, 0), (255, 255, 255), (7, 7, 7), (9, 100, 200)]
    assert read_palette(saved(tmp_path, INDICES, name="gray.png")) is None


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_small_palettes_are_read_alike(tmp_path, bits):
    values = np.array([[0, 1, 1], [1, 0, 0]], np.uint8)
    path = saved(tmp_path, values, "P", palette=[10, 20, 30, 40, 50, 60], bits=bits)
    assert read_mask(path).tolist() == values.tolist()


def test_gray_one_bit_and_sixteen_bits_keep_their_values(tmp_path):
    assert read_mask(saved(tmp_path, INDICES)).tolist() == INDICES.tolist()
    wide = np.array([[0, 300], [256, 65535]], np.uint16)
    for name in ("mask.png", "mask.tif"):
        assert read_mask(saved(tmp_path, wide, name=name)).tolist() == wide.tolist()
    assert read_mask(saved(tmp_path, np.array([[False, True]]), name="one.png")).tolist() == [[0, 1]]


def test_opaque_alpha_is_dropped_and_half_transparent_masks_are_refused(tmp_path):
    colors = np.dstack([np.arange(18, dtype=np.uint8).reshape(2, 3, 3), np.full((2, 3), 255, np.uint8)])
    assert read_mask(saved(tmp_path, colors)).tolist() == colors[..., :3].tolist()
    colors[0, 0, 3] = 100
    with pytest.raises(DataError, match="mode RGBA"):
        read_mask(saved(tmp_path, colors))
    with pytest.raises(DataError, match="mode F"):
        read_mask(saved(tmp_path, np.ones((2, 2), np.float32), name="mask.tif"))


def test_a_mask_is_turned_by_its_own_exif_tag(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = saved(tmp_path, INDICES, "P", palette=[0] * 768, exif=exif)
    assert read_mask(path).tolist() == np.rot90(INDICES, -1).tolist()


def test_values_stand_for_classes_and_255_for_what_the_card_says(tmp_path):
    path = saved(tmp_path, np.array([[0, 255]], np.uint8))
    assert MaskDecoder({0: 0, 255: 1}).read(path).tolist() == [[0, 1]]
    assert MaskDecoder({0: 0, 255: 255}).read(path).tolist() == [[0, 255]]
    wide = saved(tmp_path, np.array([[7, 4000]], np.uint16), name="wide.png")
    assert MaskDecoder({4000: 1, 7: 255}).read(wide).tolist() == [[255, 1]]


def test_colors_stand_for_classes_also_several_for_one(tmp_path):
    red, dark, blue, black = (255, 0, 0), (128, 0, 0), (0, 0, 255), (0, 0, 0)
    path = saved(tmp_path, np.array([[red, blue], [dark, black]], np.uint8))
    coding = MaskDecoder({}, {red: 0, dark: 0, blue: 1, black: 255})
    assert coding.read(path).tolist() == [[0, 1], [0, 255]]


def test_gray_stored_as_rgb_is_read_by_its_values(tmp_path):
    path = saved(tmp_path, np.repeat(np.array([[0, 255]], np.uint8)[..., None], 3, axis=2))
    assert MaskDecoder({0: 1, 255: 0}).read(path).tolist() == [[1, 0]]


@pytest.mark.parametrize(
    ("values", "coding", "message"),
    [
        (
            [[0, 3, 77]],
            MaskDecoder({0: 0, 1: 1}),
            r"mask.png has the values 0, 3, 77; neither a class nor `ignore` has 3, 77",
        ),
        ([[0, 255]], MaskDecoder({0: 0, 1: 1}), r"has the values 0, 255; neither a class nor `ignore` has 255"),
        (
            [[[0, 0, 0], [1, 2, 3]]],
            MaskDecoder({0: 0}, {(0, 0, 0): 0}),
            r"has the colors \(0, 0, 0\), \(1, 2, 3\); neither a class nor `ignore` has \(1, 2, 3\)",
        ),
        ([[[0, 0, 0], [1, 2, 3]]], MaskDecoder({0: 0}), "is an RGB image: set the class of each color in the card"),
    ],
)
def test_what_has_no_meaning_is_named_with_the_file(tmp_path, values, coding, message):
    with pytest.raises(DataError, match=message):
        coding.read(saved(tmp_path, np.array(values, np.uint8)))


def test_missing_and_broken_masks_are_named(tmp_path):
    with pytest.raises(DataError, match=r"the mask .*nothing.png does not exist"):
        read_mask(tmp_path / "nothing.png")
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(DataError, match=r"text.png cannot be read"):
        read_mask(tmp_path / "text.png")
