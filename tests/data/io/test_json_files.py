import gc

import pytest

from visionkit.data.io.json_files import read_json
from visionkit.errors import DataError


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{"a": [', "is not JSON: .*line 1"),
        (b"\xff\xfe{}", "is not JSON: .*utf-8"),
        (b"[" * 200_000, "nested too deeply"),
        (b'{"a":' * 200_000, "nested too deeply"),
        (b"9" * 10_000, "is not JSON"),
        (b"", "is not JSON"),
    ],
)
def test_what_is_no_json_is_refused_with_its_name(tmp_path, data, message):
    (tmp_path / "a.json").write_bytes(data)
    with pytest.raises(DataError, match=rf"a\.json .*{message}"):
        read_json(tmp_path / "a.json")
    assert gc.isenabled()


def test_values_are_returned(tmp_path):
    for encoding in ("utf-8", "utf-8-sig"):
        (tmp_path / "a.json").write_text('{"a": [1, null, "ä"]}', encoding=encoding)
        assert read_json(tmp_path / "a.json") == {"a": [1, None, "ä"]}
