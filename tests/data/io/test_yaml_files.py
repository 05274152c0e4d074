"""YAML files of data formats."""

import pytest

from visionkit.data.io.yaml_files import read_yaml_mapping
from visionkit.errors import DataError


def test_keys_and_values(tmp_path):
    (tmp_path / "a.yaml").write_bytes(b"\xef\xbb\xbfnames: [cat]\nnc: 1\n")
    assert read_yaml_mapping(tmp_path / "a.yaml") == {"names": ["cat"], "nc": 1}


@pytest.mark.parametrize(
    ("text", "said"),
    [("a: 1\na: 2", r"a\.yaml:2: the key 'a' stands twice"), ("a: [", "not YAML"), ("- a", "lines"), ("", "lines")],
)
def test_errors_name_the_file_and_the_line(text, said, tmp_path):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(DataError, match=said):
        read_yaml_mapping(tmp_path / "a.yaml")
