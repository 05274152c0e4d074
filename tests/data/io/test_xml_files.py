import gc

import pytest

from visionkit.data.io.xml_files import read_xml
from visionkit.errors import DataError

ENTITIES = b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x "ha">]><a>&x;</a>'


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"<a><b></a>", "is not well-formed XML: mismatched tag"),
        (b"", "is not well-formed XML"),
        (b'<?xml version="1.0" encoding="klingon"?><a/>', "is not well-formed XML"),
        (ENTITIES, "defines XML entities"),
        (ENTITIES.replace(b'"ha"', b'SYSTEM "file:///etc/passwd"'), "defines XML entities"),
    ],
)
def test_what_is_no_plain_xml_is_refused_with_its_name(tmp_path, data, message):
    (tmp_path / "a.xml").write_bytes(data)
    with pytest.raises(DataError, match=rf"a\.xml {message}"):
        read_xml(tmp_path / "a.xml")
    assert gc.isenabled()


def test_deep_elements_are_read(tmp_path):
    (tmp_path / "a.xml").write_text("<a>" * 200_000 + "</a>" * 200_000)
    assert len(read_xml(tmp_path / "a.xml")) == 1
