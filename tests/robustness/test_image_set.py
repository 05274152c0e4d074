"""Image files of installed libraries, and odd files made here: read in full, or refused in a line."""

import importlib.util
import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.robustness.boundary import GOOD, run_here, sandbox
from tests.robustness.cases.images import MODES, OPTIONS, plain_image
from tests.robustness.mutations import BOMB, png_chunks, png_file
from visionkit.data.io.image_files import FORMATS, SUFFIXES
from visionkit.data.io.images import image_size, read_image
from visionkit.errors import DataError

LIBRARIES = ("skimage", "sklearn", "matplotlib", "torchvision", "tensorboard", "scipy", "rich", "PIL", "cv2", "captum")


def library_images():
    """Return the image files of the libraries that are installed."""
    found = [importlib.util.find_spec(name) for name in LIBRARIES]
    folders = [Path(spec.origin).parent for spec in found if spec is not None and spec.origin]
    return sorted(path for folder in folders for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)


def is_readable(path):
    """Return whether Pillow reads a file of an allowed format."""
    try:
        with Image.open(path, formats=list(FORMATS)) as image:
            image.convert("RGB")
            return image.mode != "F"
    except Exception:
        return False


def read(path):
    """Read an image in both ways, whose sizes agree."""
    assert read_image(path).shape == (*image_size(path), 3)


def test_images_of_installed_libraries(tmp_path):
    paths = library_images()
    if not paths:
        pytest.skip("no library with images is installed")
    folder = sandbox(tmp_path / "run")
    endings = {path: run_here(lambda path=path: read(path), folder) for path in paths}
    assert [path for path, ending in endings.items() if ending.kind not in GOOD] == []
    assert [path for path, ending in endings.items() if is_readable(path) and ending.kind != "success"] == []


@pytest.mark.parametrize("file_format", MODES)
def test_all_modes_and_options_of_a_format(file_format, tmp_path):
    for mode in MODES[file_format]:
        for option in range(len(OPTIONS[file_format])):
            path = tmp_path / "a"
            path.write_bytes(plain_image(file_format, mode, option))
            if mode == "F":
                with pytest.raises(DataError, match="float values"):
                    read(path)
            else:
                read(path)


def saved(image, file_format="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def with_chunk(position, kind, content):
    chunks = png_chunks(saved(Image.new("RGB", (8, 6))))
    return png_file([*chunks[:position], (kind, content), *chunks[position:]])


def declared(width, height, depth=8, color=2):
    """A PNG file that declares a size and has no pixels."""
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    return png_file([(b"IHDR", header), (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b"")])


NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8))
WHOLE = {name: saved(NOISE, name) for name in ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM")}
REFUSED = {
    "no file content": b"",
    "a web page": b"<!doctype html><html></html>",
    "EPS": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    "SVG": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "a million by a million": declared(10**6, 10**6),
    "two billion wide": declared(2**31 - 1, 1),
    "no width": declared(0, 6),
    "a large PPM without pixels": b"P6 100000 100000 255\n",
    **{f"half a {name}": data[: len(data) // 2] for name, data in WHOLE.items() if name != "GIF"},
}
READ = {
    **WHOLE,
    "one pixel": saved(Image.new("1", (1, 1))),
    "one row": saved(Image.new("L", (20_000, 1))),
    "16 bits": saved(Image.fromarray(np.full((6, 8), 65535, np.uint16))),
    "gray with a transparent value": saved(Image.new("L", (8, 6)), transparency=0),
    "palette with transparency": saved(Image.new("P", (8, 6)), transparency=0),
    "CMYK": saved(Image.new("CMYK", (8, 6)), "JPEG"),
    "progressive": saved(NOISE, "JPEG", progressive=True),
    "animated GIF": saved(Image.new("P", (8, 6)), "GIF", save_all=True, append_images=[Image.new("P", (8, 6), 1)]),
    "animated WebP": saved(NOISE, "WEBP", save_all=True, append_images=[NOISE]),
    "pages of TIFF": saved(NOISE, "TIFF", save_all=True, append_images=[NOISE]),
    "broken EXIF": with_chunk(1, b"eXIf", b"MM\0*\xff\xff\xff\xff"),
    "a wrong palette": with_chunk(1, b"PLTE", bytes(9)),
}
EITHER = {
    "a bomb of text": with_chunk(1, b"zTXt", b"Comment\0\0" + BOMB),
    "a bomb as profile": with_chunk(1, b"iCCP", b"icc\0\0" + BOMB),
    "a bomb of pixels": with_chunk(1, b"IDAT", BOMB),
    "an animation without frames": with_chunk(1, b"acTL", struct.pack(">II", 0, 0)),
    "half a GIF": WHOLE["GIF"][:400],
}


@pytest.mark.parametrize("name", [*REFUSED, *READ, *EITHER])
def test_odd_files(name, tmp_path):
    folder = sandbox(tmp_path / "run")
    (folder / "a.png").write_bytes({**REFUSED, **READ, **EITHER}[name])
    ending = run_here(lambda: read(Path("a.png")), folder, confined=True)
    expected = ["refused"] if name in REFUSED else ["success"] if name in READ else ["refused", "success"]
    assert ending.kind in expected, ending
    assert ending.seconds < 2


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_the_rotations_of_exif(file_format, orientation, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "a"
    path.write_bytes(saved(NOISE, file_format, exif=exif))
    read(path)
    assert image_size(path) == ((24, 32) if orientation < 5 else (32, 24))
