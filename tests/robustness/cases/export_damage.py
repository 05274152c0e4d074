"""Damage to the files and folders of datasets in any format."""

import json
import os
import re
import shutil
from contextlib import suppress
from pathlib import Path

from PIL import Image

from tests.helpers.label_studio_tasks import SIZE
from tests.robustness.cases.coco import damaged as damaged_json
from tests.robustness.cases.voc import damaged as damaged_xml
from tests.robustness.mutations import (
    HOSTILE,
    NUMBERS,
    TEXTS,
    as_json,
    encoded_text,
    mutated_bytes,
    mutated_text,
    mutated_yaml,
)


def as_bytes(content):
    """Return the bytes of an annotation file."""
    if isinstance(content, bytes):
        return content
    return (content if isinstance(content, str) else as_json(content)).encode()


def damaged(rng, name, content):
    """Return the bytes of an annotation file with changes that suit its kind."""
    if rng.random() < 0.04:
        return rng.choice(ODD_FILES)
    if not isinstance(content, str | bytes):
        text = as_json(content)
        return as_bytes(with_repeated_key(rng, text)) if rng.random() < 0.05 else damaged_json(rng, content)
    if name.endswith(".xml"):
        return damaged_xml(rng, content) if rng.random() < 0.6 else encoded_text(rng, with_changed_cells(rng, content))
    if isinstance(content, bytes) or rng.random() < 0.1:
        return mutated_bytes(rng, as_bytes(content))
    if name.endswith(".yaml"):
        return encoded_text(rng, mutated_yaml(rng, content))
    change = rng.choice([with_changed_cells, with_changed_cells, mutated_text, with_repeated_line])
    return encoded_text(rng, change(rng, content))


CELL = re.compile(r"""[^\s,;"'<>=]+""")


def with_changed_cells(rng, text):
    """Return a text in which one or two words or numbers are replaced."""
    for _ in range(rng.randint(1, 2)):
        spans = [found.span() for found in CELL.finditer(text)]
        if not spans:
            break
        start, end = rng.choice(spans)
        text = text[:start] + str(rng.choice([*HOSTILE, *NUMBERS, *TEXTS])) + text[end:]
    return text


def with_repeated_line(rng, text):
    """Return a text with a line many times, which is changed sometimes."""
    lines = text.splitlines(keepends=True)
    at = rng.randrange(len(lines))
    line = lines[at] if rng.random() < 0.5 else with_changed_cells(rng, lines[at])
    return "".join([*lines[:at], line * rng.choice([2, 300, 20_000]), *lines[at:]])


def with_repeated_key(rng, text):
    """Return JSON with a key twice in an object."""
    at = rng.choice([found.span() for found in re.finditer(r'[{ ]"\w+":', text)])
    key = text[at[0] + 1 : at[1]]
    return text[: at[0] + 1] + f"{key} {json.dumps(rng.choice(NUMBERS[:15]))}, " + text[at[0] + 1 :]


def _deep(opening, closing=""):
    return (opening * 100_000 + closing * 100_000).encode()


ODD_FILES = [
    *(b"", b"\0" * 5000, b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff\0[", b"\n" * 100_000, b"," * 100_000, b'"' * 9999),
    *(_deep("["), _deep("[", "]"), _deep('{"a":'), _deep("<a>", "</a>"), _deep("- "), _deep("{a: "), b"{}", b"[]"),
    *(b"null", b"PAR1", b"PAR1" + bytes(40) + b"PAR1", b"ARROW1\0\0", b"1,2\n" * 50_000, b"\r" * 1000, b"a\r\n,\r\r\n"),
]
"""Files that are of no format, or are too deep or long for theirs."""


def damaged_folder(rng, folder):
    """Change names, kinds and links of the files and folders of a dataset."""
    for _ in range(rng.randint(1, 3)):
        paths = [path for path in _contents(folder) if not path.is_symlink()]
        if paths:
            rng.choice(FOLDER_CHANGES)(rng, folder, rng.choice(paths))


def _contents(folder):
    """Return all files and folders in a folder, without following links."""
    return sorted(Path(path, name) for path, folders, files in os.walk(folder) for name in (*folders, *files))


def _link(rng, folder, path):
    """Replace a file or folder by a link; that of an image may lead out of the folder, which must be noticed."""
    _remove(rng, folder, path)
    targets = [".", "..", path.name, "gone", str(folder), "/dev/zero", "/dev/null", "/proc/self/mem"]
    outside = [str(folder.parent), str(folder.parent / "outside" / "secret.png")] if path.suffix == ".png" else []
    path.symlink_to(rng.choice([*targets, *outside]))


def _circle(rng, folder, path):
    place = path if path.is_dir() else path.parent
    for index in range(rng.choice([1, 20])):
        link = place / f"link{index}"
        if not os.path.lexists(link):
            link.symlink_to(rng.choice([".", "..", str(folder)]), target_is_directory=True)


def _fifo(rng, folder, path):
    _remove(rng, folder, path)
    os.mkfifo(path)


def _as_folder(rng, folder, path):
    _remove(rng, folder, path)
    path.mkdir()


def _as_file(rng, folder, path):
    _remove(rng, folder, path)
    path.write_bytes(rng.choice([*ODD_FILES, b"GIF89a", b"<html>"]))


def _remove(rng, folder, path):
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


NAMES = ("train", "val", "test", "A.PNG", "a.jpg", "[red]", "a\nb", "\x1b[2J", "\udcff", "😀", "e\u0301", "x" * 200)


def _rename(rng, folder, path):
    name = rng.choice([*NAMES, path.name.upper(), f" {path.name}", f"{path.name} ", f".{path.name}"])
    if not os.path.lexists(path.parent / name):
        path.rename(path.parent / name)


def _copy(rng, folder, path):
    others = [other for other in _contents(folder) if other.is_file() and not other.is_symlink()]
    if others and path.is_file():
        path.write_bytes(rng.choice(others).read_bytes())


def _deep_folder(rng, folder, path):
    deep = (path if path.is_dir() else path.parent) / "/".join(["train"] * rng.choice([30, 300]))
    with suppress(NotADirectoryError):  # a file has the name
        deep.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", SIZE).save(deep / "a.png")


FOLDER_CHANGES = [_link, _link, _circle, _circle, _fifo, _as_folder, _as_file, _remove, _rename, _rename, _copy]
FOLDER_CHANGES += [_deep_folder]
