import ast
import os

import numpy as np
import pytest
from PIL import Image

from tests.helpers.real_data import REPOSITORY
from visionkit.data.io import image_files
from visionkit.data.io.image_files import FORMATS, SUFFIXES, open_encoded
from visionkit.data.io.images import decode_image, image_size, read_image
from visionkit.data.io.masks import read_mask, read_palette
from visionkit.errors import DataError

READERS = [read_image, image_size, read_mask, read_palette]

EPS = b"""%!PS-Adobe-3.0 EPSF-3.0
%%BoundingBox: 0 0 8 8
%%EndComments
(/tmp/never-written) (w) file closefile
showpage
%%EOF
"""


@pytest.mark.parametrize("read", READERS)
def test_an_eps_file_with_another_name_never_reaches_ghostscript(tmp_path, monkeypatch, read):
    from PIL import EpsImagePlugin

    def run(*args, **options):
        raise AssertionError("Ghostscript was called")

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", run)
    (tmp_path / "evil.jpg").write_bytes(EPS)
    with pytest.raises(DataError, match=r"evil\.jpg cannot be read: unknown image format; the allowed ones are JPEG"):
        read(tmp_path / "evil.jpg")


def test_only_one_module_opens_images():
    """Every other module goes through it, so that no place forgets the formats, the limits and the errors."""
    calls = []
    for path in sorted((REPOSITORY / "visionkit").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and ast.unparse(node) in ("Image.open", "PIL.Image.open", "cv2.imread"):
                calls.append(path.relative_to(REPOSITORY / "visionkit").as_posix())
            imported = node.names if isinstance(node, ast.ImportFrom) and node.module == "PIL.Image" else []
            calls += [path.name for name in imported if name.name == "open"]
    assert calls == ["data/io/image_files.py"]


@pytest.mark.parametrize("suffix", sorted(SUFFIXES))
def test_every_suffix_is_that_of_an_allowed_format(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    Image.new("1" if suffix == ".pbm" else "L" if suffix == ".pgm" else "RGB", (8, 6)).save(path)
    assert read_image(path).shape == (6, 8, 3)
    assert image_size(path) == (6, 8)
    assert suffix in FORMATS[Image.registered_extensions()[suffix]]


@pytest.mark.parametrize("read", READERS)
def test_pipes_devices_and_folders_are_refused(tmp_path, read):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    (tmp_path / "folder.png").mkdir()
    for name in ("pipe.png", "zero.png", "folder.png"):
        with pytest.raises(DataError, match=rf"{name} is not a regular file"):
            read(tmp_path / name)
    with pytest.raises(DataError, match=r"gone\.png does not exist"):
        read(tmp_path / "gone.png")
    with pytest.raises(DataError, match=r"cannot be read: .*too long"):
        read(tmp_path / ("a" * 300))


def test_images_with_too_many_pixels_are_refused_by_their_header(tmp_path, monkeypatch):
    monkeypatch.setattr(image_files, "MAX_PIXELS", 47)
    Image.new("RGB", (8, 6)).save(tmp_path / "a.png")
    for read in READERS:
        with pytest.raises(DataError, match=r"a\.png has 6 x 8 pixels; at most 47 are read"):
            read(tmp_path / "a.png")


def test_too_large_files_are_refused_before_they_are_read(tmp_path):
    with (tmp_path / "a.png").open("wb") as file:
        file.truncate(image_files.MAX_FILE_BYTES + 1)
    for read in READERS:
        with pytest.raises(DataError, match=r"a\.png has 1073741825 bytes; at most 1073741824 are read"):
            read(tmp_path / "a.png")


def test_empty_data_and_any_fault_inside_the_block_are_named():
    with pytest.raises(DataError, match="image x cannot be read: the file is empty"):
        decode_image(b"", "x")
    buffer = image_files.io.BytesIO()
    Image.new("L", (8, 6)).save(buffer, "PNG")
    with pytest.raises(DataError, match="image x cannot be read: KeyError"), open_encoded(buffer.getvalue(), "x"):
        raise KeyError
    assert decode_image(buffer.getvalue(), "x").shape == (6, 8, 3)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bits_are_scaled_by_depth_and_not_by_content(tmp_path, suffix):
    """Two dark frames with the largest values 255 and 256 must not differ 255-fold."""
    frames = [np.full((2, 3), value, np.uint16) for value in (255, 256, 257, 65535)]
    levels = []
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(tmp_path / f"{number}{suffix}")
        levels.append(int(read_image(tmp_path / f"{number}{suffix}").max()))
    assert levels == [0, 0, 1, 255]


def test_values_beyond_sixteen_bits_are_refused(tmp_path):
    for name, value in (("high.tif", 70000), ("low.tif", -1)):
        Image.fromarray(np.full((2, 3), value, np.int32)).save(tmp_path / name)
        with pytest.raises(DataError, match=rf"{name} has 32-bit integers from {value} to {value}; save it with 16"):
            read_image(tmp_path / name)
