import numpy as np
import pytest
from PIL import Image

from visionkit.data.io.images import image_size, read_image
from visionkit.errors import DataError

RAMP = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5


def save(path, values, **options):
    (values if isinstance(values, Image.Image) else Image.fromarray(values)).save(path, **options)
    return path


def test_gray_becomes_three_equal_channels(tmp_path):
    image = read_image(save(tmp_path / "a.png", RAMP))
    np.testing.assert_array_equal(image, np.repeat(RAMP[..., None], 3, axis=2))


def test_sixteen_bit_is_scaled_not_cut(tmp_path):
    values = np.linspace(0, 65535, 48).astype(np.uint16).reshape(6, 8)
    image = read_image(save(tmp_path / "a.png", values))
    np.testing.assert_array_equal(image[..., 0], values // 257)
    assert image.max() == 255
    assert len(np.unique(image)) == 48


def test_transparent_pixels_lie_over_white(tmp_path):
    values = np.zeros((2, 2, 4), np.uint8)
    values[0, :, 3] = 255
    image = read_image(save(tmp_path / "a.png", values))
    assert image[0].max() == 0
    assert image[1].min() == 255


def test_palette_and_one_bit_images_show_their_colors(tmp_path):
    palette = Image.fromarray(np.array([[0, 1], [1, 0]], np.uint8), mode="P")
    palette.putpalette([10, 20, 30, 200, 100, 50])
    image = read_image(save(tmp_path / "p.png", palette))
    assert image[0].tolist() == [[10, 20, 30], [200, 100, 50]]
    bits = Image.fromarray(np.array([[0, 255], [255, 0]], np.uint8)).convert("1")
    assert read_image(save(tmp_path / "b.png", bits))[..., 0].tolist() == [[0, 255], [255, 0]]


def test_cmyk_is_converted(tmp_path):
    cyan = Image.new("CMYK", (8, 8), (255, 0, 0, 0))
    red, green, blue = read_image(save(tmp_path / "a.jpg", cyan, quality=100))[0, 0].tolist()
    assert red < 30
    assert min(green, blue) > 150


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_exif_orientation_is_applied_as_pillow_does(tmp_path, orientation, suffix):
    from PIL import ImageOps

    values = np.zeros((16, 32, 3), np.uint8)
    values[:8, :8] = (250, 20, 20)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / f"a.{suffix}", values, exif=exif, **({"quality": 100} if suffix == "jpg" else {}))
    with Image.open(path) as opened:
        expected = np.asarray(ImageOps.exif_transpose(opened).convert("RGB"))
    image = read_image(path)
    assert image.shape == expected.shape
    assert np.abs(image.astype(int) - expected).max() <= 12
    assert image_size(path) == image.shape[:2]


def test_broken_and_missing_images_are_named(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    for suffix in ("jpg", "png"):
        whole = save(tmp_path / f"whole.{suffix}", noise).read_bytes()
        cut = tmp_path / f"cut.{suffix}"
        cut.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(DataError, match=f"cut.{suffix} cannot be read"):
            read_image(cut)
    (tmp_path / "text.jpg").write_text("no image")
    with pytest.raises(DataError, match=r"text\.jpg cannot be read"):
        read_image(tmp_path / "text.jpg")
    with pytest.raises(DataError, match=r"the image .*gone\.jpg does not exist"):
        read_image(tmp_path / "gone.jpg")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_size_in_the_header_of_a_tiff_is_that_of_the_image(tmp_path, orientation):
    """Some versions of Pillow rotate a TIFF file when it is opened, others when its pixels are read."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "a.tif"
    Image.new("RGB", (8, 6)).save(path, exif=exif)
    assert image_size(path) == read_image(path).shape[:2] == ((6, 8) if orientation < 5 else (8, 6))


def test_an_image_of_float_values_is_refused(tmp_path):
    Image.fromarray(np.full((6, 8), 0.5, np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(DataError, match="has float values"):
        read_image(tmp_path / "a.tif")
