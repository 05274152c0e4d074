"""Label maps of TensorFlow's object detection (`labelmap.pbtxt`)."""

import re
from pathlib import Path

from visionkit.data.io.paths import read_text
from visionkit.errors import DataError
from visionkit.text import shorten

ITEM = re.compile(r"\s*item\s*(?::\s*)?\{([^{}]*)\}")
FIELD = re.compile(r"""\s*(\w+)\s*:\s*("[^"\n]*"|'[^'\n]*'|[-\w.]+)\s*[,;]?""")
COMMENT = re.compile(r"^[^\S\n]*#.*$", re.MULTILINE)


def read_label_map(path: Path) -> list[str]:
    """Return the names of the classes in the order of their ids.

    Args:
        path: file with an `item { id: 1 name: 'cat' }` per class.

    Raises:
        DataError: the file has another form, or an id or a name is missing or repeated.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from visionkit.data.datasets.label_map import read_label_map
        >>> path = Path(tempfile.mkdtemp()) / "labelmap.pbtxt"
        >>> _ = path.write_text("item { id: 2 name: 'dog' } item { id: 1 name: 'cat' }")
        >>> read_label_map(path)
        ['cat', 'dog']
    """
    text = COMMENT.sub("", read_text(path)).rstrip()
    names: dict[int, str] = {}
    used: set[str] = set()
    position = 0
    while position < len(text):
        item = ITEM.match(text, position)
        if item is None:
            rest = text[position:].lstrip()
            line = text.count("\n", 0, len(text) - len(rest)) + 1
            raise DataError(f"{path}, line {line}: expected item {{ id: 1 name: 'cat' }}, not {shorten(rest)}")
        number, name = _read_item(item[1], f"{path}, item {len(names) + 1}")
        if number in names or name in used:
            raise DataError(f"{path}: the {'id' if number in names else 'name'} of {shorten(name)} occurs twice")
        names[number] = name
        used.add(name)
        position = item.end()
    if not names:
        raise DataError(f"{path} has no items")
    return [names[number] for number in sorted(names)]


def _read_item(text: str, place: str) -> tuple[int, str]:
    fields: dict[str, str] = {}
    text, position = text.rstrip(), 0
    while position < len(text):
        field = FIELD.match(text, position)
        if field is None:
            raise DataError(f"{place}: expected name: 'value', not {shorten(text[position:].strip())}")
        fields[field[1]] = field[2].strip("\"'")
        position = field.end()
    number = fields.get("id", "")
    if not (number.isascii() and number.isdigit() and len(number) < 10 and fields.get("name", "").strip()):
        raise DataError(f"{place} needs a name and an id that is a positive integer, not {shorten(fields)}")
    return int(number), fields["name"]
