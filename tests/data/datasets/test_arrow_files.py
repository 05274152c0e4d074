"""Parquet files and folders of `save_to_disk`."""

import builtins
import json
import socket

import pytest

from tests.helpers.arrow_files import FEATURES, LABEL, OBJECTS, encoded, images, table, write_parquet, write_saved
from visionkit.data.datasets.arrow_files import ArrowImages, read_arrow_files, stored_names
from visionkit.errors import DataError, VisionkitError


def test_the_missing_package_is_named(tmp_path, monkeypatch):
    real_import = builtins.__import__

    def without_pyarrow(name, *arguments, **options):
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return real_import(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without_pyarrow)
    with pytest.raises(VisionkitError, match=r'of the extra "hf": pip install "visionkit\[hf\]"'):
        read_arrow_files(tmp_path, "a.parquet")


@pytest.mark.parametrize(
    ("features", "names"),
    [
        (FEATURES, ["cat", "dog"]),
        ({"objects": {"_type": "Sequence", "feature": {"category": LABEL}}}, ["cat", "dog"]),
        ({"objects": [{"category": LABEL}]}, ["cat", "dog"]),
        ({"objects": {"category": {"_type": "Value"}}}, None),
        ({"objects": {"category": {"_type": "ClassLabel", "names": [3]}}}, None),
        ({"objects": 3}, None),
        ({}, None),
    ],
)
def test_class_names_in_the_description_of_the_columns(features, names):
    assert stored_names(features, "objects", "category") == names


class TestFiles:
    """Tests that need pyarrow."""

    @pytest.fixture(autouse=True)
    def _needs_pyarrow(self):
        pytest.importorskip("pyarrow")

    def test_one_file_several_files_and_a_folder(self, tmp_path, monkeypatch):
        monkeypatch.setattr(socket, "socket", None)  # no connection is opened
        for name in ("data/train-0.parquet", "data/train-1.parquet", "data/val-0.parquet"):
            write_parquet(tmp_path / name, {"image": images(), "objects": OBJECTS}, FEATURES)
        write_saved(tmp_path / "saved", *[table({"image": images(), "objects": OBJECTS}, FEATURES)] * 2)
        for path, count in (("data/val-0.parquet", 2), ("data/train-*.parquet", 4), ("saved", 4)):
            found = read_arrow_files(tmp_path, path)
            assert (found.columns.num_rows, found.features) == (count, FEATURES)
            assert found.columns.column("objects").to_pylist() == OBJECTS * (count // 2)

    def test_images_are_content_or_paths_inside_of_the_folder(self, tmp_path):
        (tmp_path / "a.png").write_bytes(encoded(7))
        rows = [{"bytes": encoded(1), "path": "gone.png"}, {"bytes": None, "path": "a.png"}]
        rows += [{"bytes": None, "path": "../a.png"}, {"bytes": None, "path": None}]
        write_parquet(tmp_path / "a.parquet", {"image": rows})
        found = ArrowImages(read_arrow_files(tmp_path, "a.parquet"), "image", tmp_path)
        assert [found.encoded(index) for index in (0, 1)] == [encoded(1), encoded(7)]
        for index, said in ((2, "outside"), (3, r"a\.parquet: row 3 has no image")):
            with pytest.raises(DataError, match=said):
                found.encoded(index)

    def test_a_column_of_plain_content(self, tmp_path):
        write_parquet(tmp_path / "a.parquet", {"image": [encoded(1)]})
        assert ArrowImages(read_arrow_files(tmp_path, "a.parquet"), "image", tmp_path).encoded(0) == encoded(1)

    @pytest.mark.parametrize(
        ("column", "said"),
        [("picture", "no column picture; its columns are image, n"), ("n", "has the type int64, not")],
    )
    def test_other_columns_are_refused(self, column, said, tmp_path):
        write_parquet(tmp_path / "a.parquet", {"image": images(1), "n": [3]})
        with pytest.raises(DataError, match=said):
            ArrowImages(read_arrow_files(tmp_path, "a.parquet"), column, tmp_path)

    @pytest.mark.parametrize(
        ("path", "said"),
        [
            ("gone.parquet", "does not exist; set path to a Parquet file"),
            ("*.csv", "does not exist"),
            ("", "is no folder of save_to_disk: it has no state.json"),
            ("dict", "dict has several splits; set path to the folder of one: train"),
            ("text.parquet", r"the data file .*text\.parquet cannot be read"),
            ("cut.parquet", r"the data file .*cut\.parquet cannot be read"),
            ("empty.parquet", "has no rows"),
            ("mixed-*.parquet", "the files have different columns"),
            ("metadata.parquet", "the metadata of the columns is not usable"),
            ("list", "_data_files must be a list, not None"),
            ("outside", "outside"),
        ],
    )
    def test_other_files_are_refused(self, path, said, tmp_path):
        write_saved(tmp_path / "dict" / "train", table({"image": images()}))
        (tmp_path / "dict" / "dataset_dict.json").write_text("{}")
        write_saved(tmp_path / "list", table({"image": images()}))
        (tmp_path / "list" / "state.json").write_text("{}")
        write_saved(tmp_path / "outside", table({"image": images()}))
        (tmp_path / "outside" / "state.json").write_text(json.dumps({"_data_files": [{"filename": "../a.arrow"}]}))
        write_parquet(tmp_path / "whole.parquet", {"image": images()})
        (tmp_path / "cut.parquet").write_bytes((tmp_path / "whole.parquet").read_bytes()[:-20])
        (tmp_path / "text.parquet").write_text("no table")
        write_parquet(tmp_path / "empty.parquet", {"image": images(0)})
        write_parquet(tmp_path / "mixed-0.parquet", {"image": images()})
        write_parquet(tmp_path / "mixed-1.parquet", {"label": [3]})
        write_parquet(tmp_path / "metadata.parquet", {"image": images()})
        import pyarrow.parquet

        pyarrow.parquet.write_table(
            table({"image": images()}).replace_schema_metadata({"huggingface": "{"}), tmp_path / "metadata.parquet"
        )
        with pytest.raises(DataError, match=said) as caught:
            read_arrow_files(tmp_path, path)
        assert len(str(caught.value).splitlines()) <= 5
