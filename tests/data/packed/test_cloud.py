"""Packed data in a bucket, read by LitData's downloaders from a local server that answers like S3."""

import pytest

import visionkit as vk
from tests.helpers.file_server import file, serve
from tests.helpers.packed_files import assert_same_dataset, write_uneven
from visionkit.data.datasets.packed import Packed
from visionkit.data.datasets.shapes import Shapes
from visionkit.data.packed import remote_files
from visionkit.errors import DataError, VisionkitError

pytest.importorskip("litdata")


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    """A server with the bucket `mine`, which has a dataset in `data`."""
    made = write_uneven(tmp_path / "made", {"val": Shapes(count=7, size=32)}, [2, 4])
    files = {
        f"mine/data/{path.relative_to(made)}": file(
            path.read_bytes(), ETag='"1"', Last_Modified="Thu, 01 Jan 2026 00:00:00 GMT"
        )
        for path in made.rglob("*")
        if path.is_file()
    }
    monkeypatch.setattr(remote_files, "PAUSES", (0.0, 0.0))
    with serve(**files) as server:
        for name, value in {
            "AWS_ENDPOINT_URL": server.address,
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
        }.items():
            monkeypatch.setenv(name, value)
        yield server


def test_a_bucket_of_s3_equals_its_source(bucket, tmp_path):
    packed = Packed("s3://mine/data", "val", stream=vk.StreamOptions(cache=str(tmp_path / "cache")))
    assert_same_dataset(Shapes(count=7, size=32), packed)
    shards = [path for path, _ in bucket.asked if path.endswith(".bin")]
    assert set(shards) == {"/mine/data/val/part-0.bin", "/mine/data/val/part-1.bin", "/mine/data/val/part-2.bin"}


def test_faults_are_errors_with_the_address(bucket, tmp_path):
    stream = vk.StreamOptions(cache=str(tmp_path / "cache"))
    bucket.answers["/mine/data/val/part-0.bin"] = file(b"x" * 10, ETag='"1"')
    with pytest.raises(DataError, match=r"s3://mine/data/val/part-0.bin has the wrong sha256, and was removed"):
        Packed("s3://mine/data", "val", stream=stream)[0]
    with pytest.raises(DataError, match=r"s3://mine/other/packed.json could not be downloaded: "):
        Packed("s3://mine/other", "val", stream=stream)


def test_gs_needs_its_own_package(tmp_path):
    try:
        import google.cloud.storage  # noqa: F401
    except ImportError:
        with pytest.raises(VisionkitError, match=r"gs:// addresses need one more package: .*google"):
            Packed("gs://mine/data", "val", stream=vk.StreamOptions(cache=str(tmp_path)))
