import io
import struct
import zipfile
import zlib

import numpy as np
import pytest

from visionkit.data.io import npz
from visionkit.data.io.npz import read_npz
from visionkit.errors import DataError


def test_arrays_are_those_of_numpy(tmp_path):
    arrays = {"a": np.arange(6).reshape(2, 3), "names": np.array(["x", "yz"]), "f": np.asfortranarray(np.eye(3)[:, :2])}
    arrays["empty"] = np.zeros((0, 4), np.float32)
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "a.npz", **arrays)
        read = read_npz(tmp_path / "a.npz", "arrays")
        assert list(read) == list(arrays)
        for name, array in arrays.items():
            np.testing.assert_array_equal(read[name], array)
            assert read[name].dtype == array.dtype
    assert list(read_npz(tmp_path / "a.npz", "arrays", ["f"])) == ["f"]


def header(shape="(3,)", descr="'<f8'", padding=0):
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}" + " " * padding + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


def archive(content):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("a.npy", content)
    return buffer.getvalue()


def encrypted():
    data = bytearray(archive(header() + bytes(24)))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + offset] |= 1
    return bytes(data)


def with_broken_stream():
    data = bytearray(archive(header("(3000,)") + np.random.default_rng(0).bytes(24000)))
    for offset in range(12000, 12040):
        data[offset] ^= 255
    return bytes(data)


def single_array():
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    return buffer.getvalue()


BAD = {
    "text": (b"no archive", "not an .npz file"),
    "a single array": (single_array(), "not an .npz file"),
    "encrypted": (encrypted(), "encrypted"),
    "broken stream": (with_broken_stream(), "cannot be read"),
    "huge shape": (archive(header("(10**12,)") + bytes(24)), "cannot be read"),
    "large shape": (archive(header("(1000000000000,)") + bytes(24)), r"has the shape \(1000000000000,\)"),
    "long header": (archive(header(padding=20000) + bytes(24)), "cannot be read"),
    "negative shape": (archive(header("(-3,)") + bytes(24)), "cannot be read"),
    "objects": (archive(header(descr="'|O'") + bytes(24)), "holds Python objects"),
    "no array": (archive(b"text"), "cannot be read"),
    "another name": (archive(header() + bytes(24)), "has no arrays b"),
    "unknown compression": (
        archive(header() + bytes(24)).replace(b"\x14\x00\x00\x00\x08\x00", b"\x14\x00\x00\x00\x63\x00"),
        "cannot be read",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_archives_are_refused_with_their_name(tmp_path, case):
    data, message = BAD[case]
    (tmp_path / "bad.npz").write_bytes(data)
    with pytest.raises(DataError, match=rf"(?s)arrays .*bad\.npz.*{message}|bad\.npz has no arrays b") as caught:
        read_npz(tmp_path / "bad.npz", "arrays", ["b"] if case == "another name" else None)
    assert len(str(caught.value).splitlines()) <= 2


def test_a_broken_stream_reaches_the_decoder():
    """Otherwise the case above would test no more than the central directory."""
    with zipfile.ZipFile(io.BytesIO(with_broken_stream())) as opened, pytest.raises((zlib.error, zipfile.BadZipFile)):
        opened.read("a.npy")


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "bomb.npz", a=np.zeros(1_000_000))
    assert len(read_npz(tmp_path / "bomb.npz", "arrays")["a"]) == 1_000_000
    monkeypatch.setattr(npz, "MAX_UNPACKED_BYTES", 1000)
    with pytest.raises(DataError, match=r"would unpack to 8000128 bytes, more than 64 times its own size"):
        read_npz(tmp_path / "bomb.npz", "arrays")
