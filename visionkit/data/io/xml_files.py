"""Reading XML files."""

from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, ParseError

import defusedxml.ElementTree
from defusedxml.common import DefusedXmlException

from visionkit.data.io.json_files import garbage_collection_paused
from visionkit.data.io.paths import read_bytes
from visionkit.errors import DataError


def read_xml(path: Path) -> Element:
    """Return the root element of an XML file.

    Raises:
        DataError: the file does not exist, is not a regular file, is not XML, or defines entities.
    """
    content = read_bytes(path, "annotation file")
    try:
        with garbage_collection_paused():
            root: Any = defusedxml.ElementTree.fromstring(content)
    except DefusedXmlException as error:
        raise DataError(
            f"{path} defines XML entities, which annotations must not have ({type(error).__name__})"
        ) from error
    except (ParseError, LookupError, ValueError) as error:  # the last two for encodings that are unknown or unsupported
        raise DataError(f"{path} is not well-formed XML: {error}") from error
    return root
