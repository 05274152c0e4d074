"""Damaged image files of all formats, for prediction."""

import functools
import io
import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

import visionkit as vk
from tests.robustness.boundary import Repaired, command
from tests.robustness.cases import Kind
from tests.robustness.cases.models import checkpoint
from tests.robustness.mutations import SIZES, mutated_bytes, mutated_png
from visionkit.data.io.images import image_size, read_image

RGB, GRAY = ("RGB", "L", "P", "1", "RGBA", "LA", "I;16", "CMYK"), ("L", "RGB", "1")
MODES = {
    "PNG": ("RGB", "L", "P", "1", "RGBA", "LA", "I;16"),
    "JPEG": ("RGB", "L", "CMYK"),
    "GIF": ("P", "L"),
    "BMP": ("RGB", "L", "P", "1"),
    "WEBP": ("RGB", "RGBA"),
    "TIFF": ("RGB", "L", "P", "1", "CMYK", "I;16", "F", "RGBA"),
    "PPM": ("RGB", "L", "1"),
}
OTHERS = [
    b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(../canary) (w) file\n",
    b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>",
    b"P6 100000 100000 255\n" + bytes(300),
    b"P6\n" + b"9" * 5000 + b" 1 255\n",
    b"#define a_width 9999999\n#define a_height 9999999\n",
    b"II*\0\x08\0\0\0\xff\xff",
    b"",
    b"\0",
]


@functools.cache
def plain_image(file_format, mode, option):
    """Return the bytes of a small image file."""
    values = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    image = Image.fromarray(values)
    if mode in ("I;16", "F"):
        image = Image.fromarray(values[..., 0].astype({"I;16": np.uint16, "F": np.float32}[mode]))
    image = image if image.mode == mode else image.convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, file_format, **OPTIONS[file_format][option % len(OPTIONS[file_format])](image))
    return buffer.getvalue()


def _exif(orientation):
    made = Image.Exif()
    made[0x0112] = orientation
    return made


PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
OPTIONS = {
    "PNG": [
        lambda image: {},
        lambda image: {"exif": _exif(6)},
        lambda image: {"icc_profile": PROFILE},
        lambda image: {"save_all": True, "append_images": [image]},
        lambda image: {"transparency": 0} if image.mode in ("P", "L") else {},
    ],
    "JPEG": [
        lambda image: {},
        lambda image: {"progressive": True},
        lambda image: {"exif": _exif(5)},
        lambda image: {"icc_profile": PROFILE, "restart_marker_blocks": 1},
    ],
    "GIF": [
        lambda image: {},
        lambda image: {"save_all": True, "append_images": [image]},
        lambda image: {"interlace": 1},
    ],
    "BMP": [lambda image: {}],
    "WEBP": [
        lambda image: {},
        lambda image: {"lossless": True, "exif": _exif(8)},
        lambda image: {"save_all": True, "append_images": [image]},
    ],
    "TIFF": [
        lambda image: {},
        lambda image: {"compression": "tiff_lzw"} if image.mode != "F" else {},
        lambda image: {"compression": "tiff_adobe_deflate"} if image.mode != "F" else {},
        lambda image: {"compression": "jpeg"} if image.mode in ("RGB", "L") else {},
        lambda image: {"save_all": True, "append_images": [image]},
    ],
    "PPM": [lambda image: {}],
}


def damaged(rng):
    """Return the bytes of a damaged image file."""
    if rng.random() < 0.05:
        return rng.choice(OTHERS)
    file_format = rng.choice([*MODES, "PNG", "JPEG", "TIFF", "WEBP"])
    data = plain_image(file_format, rng.choice(MODES[file_format]), rng.randrange(5))
    if file_format == "PNG" and rng.random() < 0.8:
        return mutated_png(rng, data)
    if file_format == "JPEG" and rng.random() < 0.3:
        return declared_size(rng, data)
    return mutated_bytes(rng, data)


def declared_size(rng, data):
    """Return a JPEG file whose header declares another size."""
    start = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2"))
    side = (rng.choice(SIZES) & 0xFFFF).to_bytes(2, "big")
    at = start + rng.choice([5, 7])
    return data[:at] + side + data[at + 2 :]


def prepare(rng, folder):
    (folder / "photos").mkdir()
    Image.new("RGB", (40, 32), 90).save(folder / "photos" / "good.png")
    suffix = rng.choice(["png", "jpg", "gif", "bmp", "webp", "tif", "ppm"])
    (folder / "photos" / f"x.{suffix}").write_bytes(damaged(rng))
    way = rng.choice(["read", "read", "predict", "command"])
    if way != "read":
        (folder / "best.ckpt").write_bytes(checkpoint(rng.choice(["classification", "segmentation", "detection"])))
    return [way]


def run(way):
    path = next(file for file in Path("photos").iterdir() if file.stem == "x")
    if way == "read":
        image = read_image(path)
        assert image.shape == (*image_size(path), 3)
    elif way == "predict":
        for result in vk.load("best.ckpt").predict(path):
            json.dumps(result.to_dict(), allow_nan=False)
    else:
        try:
            command(["predict", "best.ckpt", "photos", "--output", "out"])
        except Repaired:
            assert len(json.loads(Path("out/predictions.json").read_text())) == 1, "the good image is predicted"
            raise


KIND = Kind(prepare, run)
