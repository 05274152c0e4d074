"""Pure functions that damage valid content: trees of JSON values, text and bytes.

Every function takes a `random.Random`, so that hypothesis (`st.randoms`) and a seed can both drive it.
"""

import copy
import json
import math
import re
import struct
import zlib

from tests.helpers.hostile import places

CANARY = "../canary"
"""Path relative to the folder of a case, outside of which nothing may be written."""

SECRET = "../outside/secret.png"
"""An image outside of the folder of a case, which annotations must not read."""

NUMBERS = [
    *(0, -1, 1, 2, 255, 256, 0.5, -0.5, 1e-300, 1e9, -1e9, 1e39, 1e300, 2**31, 2**32, 2**63, -(2**63), 10**400),
    *(math.nan, math.inf, -math.inf, 65535, 65536, 10**6, 10**12),
]
TEXTS = [
    *("", " ", "\t", "\0", "a\0b", "\n", "\x1b[2J", "\ud800", "\u202e", "😀", "e\u0301", "a" * 300, "x" * 20_000),
    *("..", ".", "/", "/etc/passwd", CANARY, SECRET, "../" * 30 + "etc/passwd", "C:\\windows", "~", "$HOME", "%s%n"),
    *("true", "null", "nan", "inf", "-1", "0", "1e999", "9" * 400, "[/red]", "[link=x]", "{0}", "{", "a.b", "a=b"),
    *(
        "CON",
        "-",
        "--help",
        "*",
        "|touch ../canary",
        "$(touch ../canary)",
        "__import__('os').system('touch ../canary')",
    ),
]
CONTAINERS = [
    *([], {}, [[]], [None], [1] * 6, [1e9] * 6, [[math.nan] * 6], [[[[[1]]]]], {"": {}}, {"size": [1, 1]}, [{}], [""]),
    *({"counts": [5], "size": [6, 8]}, {"class_path": "os.system", "init_args": {"command": "touch ../canary"}}),
]
HOSTILE = [None, True, False, *NUMBERS, *TEXTS, *CONTAINERS]

YAML_VALUES = [
    *(
        "!!python/object/apply:os.system ['touch ../canary']",
        "!!python/name:os.system",
        "!!binary aGk=",
        "!!set {a, b}",
    ),
    *("!!python/object/new:os.system ['touch ../canary']", "!!float x", "!!int 1_", "!x y", "*unknown", "&a [*a]"),
    *("&a {b: *a}", "{<<: 3}", "{<<: [1, 2]}", "{? [a] : b}", "[" * 200, "{a: " * 200, "'", '"', "|", ">-", "@", "`"),
    *("2001-01-01", "1:30:00", "0x1F", "0b1", "0o17", "1_000", ".inf", "-.inf", ".nan", "~", "yes", "off", "=", "<<"),
    *("1e5", "1.e+400", "[1, 2", "{a: 1", "%YAML 9.9", "---", "...", "\t- a", "- a\n - b", "# a", "a: b: c", "? a"),
]
YAML_LINES = [f"{key}: {value}" for key in ("a", "data", "model", "base", "for", "<<") for value in YAML_VALUES]

DEEP = re.compile(r'"@deep (\d+)@"')
"""Stands in a tree for nested lists, which `json.dumps` could not write."""


def mutated_tree(rng, tree, most=2):
    """Return a copy of nested lists and dicts with one to `most` changes."""
    tree = copy.deepcopy(tree)
    for _ in range(rng.randint(1, most)):
        paths = places(tree)
        if not paths:
            return tree
        path = rng.choice(paths)
        parent = tree
        for key in path[:-1]:
            parent = parent[key]
        rng.choice(TREE_CHANGES)(rng, parent, path[-1])
    return tree


def _replace(rng, parent, key):
    parent[key] = copy.deepcopy(rng.choice(HOSTILE))


def _retype(rng, parent, key):
    value = parent[key]
    if isinstance(value, bool | int | float):
        changed = [str(value), [value], bool(value), -value, value * 1000, value + 0.5, {"a": value}, int(value == 0)]
    elif isinstance(value, str):
        changed = [
            mutated_text(rng, value),
            [value],
            {value: value},
            len(value),
            value + "\0",
            value.upper(),
            value * 9,
        ]
    elif isinstance(value, list):
        changed = [dict(enumerate(map(str, value))), tuple(value), value[::-1], value[:1], [value], str(value)]
    else:
        changed = [[value], [], {}, "None", 0]
    parent[key] = rng.choice(changed)


def _drop(rng, parent, key):
    del parent[key]


def _duplicate(rng, parent, key):
    if isinstance(parent, list):
        parent.insert(key, copy.deepcopy(parent[key]))
    else:
        parent[mutated_text(rng, str(key))] = copy.deepcopy(parent[key])


def _swap(rng, parent, key):
    other = rng.choice(list(parent) if isinstance(parent, dict) else range(len(parent)))
    parent[key], parent[other] = parent[other], parent[key]


def _rename(rng, parent, key):
    if isinstance(parent, dict):
        value = parent.pop(key)
        parent[rng.choice([mutated_text(rng, str(key)), *TEXTS])] = value


def _repeat(rng, parent, key):
    if isinstance(parent, list):
        parent += [copy.deepcopy(parent[key]) for _ in range(rng.choice([1, 10, 300]))]
    elif isinstance(parent[key], list):
        parent[key] = (parent[key] or [0]) * rng.choice([2, 100, 3000])


def _nest(rng, parent, key):
    value = parent[key]
    for _ in range(rng.choice([1, 3, 40])):
        value = [value] if rng.random() < 0.5 else {"a": value}
    parent[key] = value


def _nest_deeply(rng, parent, key):
    parent[key] = f"@deep {rng.choice([100, 900, 3000, 100_000])}@"


TREE_CHANGES = [
    *([_replace] * 6),
    *([_retype] * 4),
    *([_drop] * 2),
    *(_duplicate, _swap, _rename, _repeat, _nest, _nest_deeply),
]


def as_json(tree):
    """Return a tree as JSON, with the deep lists that stand for `DEEP`."""
    text = json.dumps(tree)
    return DEEP.sub(lambda found: "[" * int(found[1]) + "]" * int(found[1]), text)


def as_yaml(tree):
    """Return a tree as YAML, with the deep lists that stand for `DEEP`."""
    return DEEP.sub(lambda found: "[" * int(found[1]) + "]" * int(found[1]), shown_in_yaml(tree))


def mutated_text(rng, text):
    """Return a text with one change of a few characters or lines."""
    if not text:
        return rng.choice(TEXTS)
    at = rng.randrange(len(text))
    end = min(at + rng.randint(1, 8), len(text))
    lines = text.splitlines(keepends=True)
    row = rng.randrange(len(lines))
    changed = [
        text[:at] + text[end:],
        text[:at] + rng.choice(TEXTS) + text[end:],
        text[:at] + text[at:end] * rng.choice([2, 50]) + text[end:],
        text[:at] + chr(rng.choice([0, 9, 10, 13, 27, 34, 39, 44, 58, 91, 123, 127, 0xFEFF, 0x1F600])) + text[at:],
        text[:at],
        text[:at] + text[end:][::-1],
        text.swapcase(),
        "".join(lines[:row] + lines[row + 1 :]),
        "".join([*lines[:row], lines[row], *lines[row:]]),
        "".join([*lines[:row], rng.choice([" ", "    ", "\t", "- ", "#"]), *lines[row:]]),
        "".join([*lines[row:], *lines[:row]]),
        text.replace("\n", "\r\n"),
    ]
    return rng.choice(changed)


def mutated_yaml(rng, text, most=3):
    """Return YAML with changes of its lines and values."""
    for _ in range(rng.randint(1, most)):
        values = [found.span(1) for found in re.finditer(r"(?<=[:,\[-] )([^\s,\]}{]+)", text)]
        lines = text.splitlines(keepends=True) or [""]
        choice = rng.random()
        if values and choice < 0.6:
            start, end = rng.choice(values)
            text = text[:start] + rng.choice([*YAML_VALUES, *map(shown_in_yaml, HOSTILE)]) + text[end:]
        elif choice < 0.75:
            lines.insert(rng.randint(0, len(lines)), rng.choice(YAML_LINES) + "\n")
            text = "".join(lines)
        else:
            text = mutated_text(rng, text)
    return text


def shown_in_yaml(value):
    """Return a value in YAML's flow style, which is JSON except for the names of numbers."""
    text = json.dumps(value)
    return re.sub(r"(-?)\b(NaN|Infinity)\b", lambda found: found[1] + {"NaN": ".nan"}.get(found[2], ".inf"), text)


def encoded_text(rng, text):
    """Return a text as bytes, mostly in UTF-8."""
    coding = rng.choice(["utf-8"] * 30 + ["utf-8-sig", "utf-16", "latin-1"])
    errors = "surrogatepass" if coding.startswith("utf") else "replace"
    return text.encode(coding, errors)


SIZES = [0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 20_000, 100_000]


def mutated_bytes(rng, data, most=4):
    """Return bytes with one to `most` changes."""
    data = bytearray(data)
    for _ in range(rng.randint(1, most)):
        rng.choice(BYTE_CHANGES)(rng, data)
    return bytes(data)


def _position(rng, data):
    """Return an index of the data, often in its header."""
    return rng.randrange(min(len(data), 64) if rng.random() < 0.4 else len(data)) if data else 0


def _truncate(rng, data):
    del data[_position(rng, data) :]


def _flip(rng, data):
    for _ in range(rng.choice([1, 1, 3, 20]) if data else 0):
        data[_position(rng, data)] ^= 1 << rng.randrange(8)


def _set(rng, data):
    for _ in range(rng.choice([1, 1, 3]) if data else 0):
        data[_position(rng, data)] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)])


def _run(rng, data):
    at = _position(rng, data)
    length = min(rng.choice([2, 16, 200]), len(data) - at)
    data[at : at + length] = bytes([rng.choice([0, 0xFF])]) * length


def _splice(rng, data):
    at, start = _position(rng, data), _position(rng, data)
    chunk = data[start : start + rng.choice([4, 16, 100])]
    data[at : at + (len(chunk) if rng.random() < 0.5 else 0)] = chunk


def _insert(rng, data):
    at = _position(rng, data)
    data[at:at] = bytes(rng.randrange(256) for _ in range(rng.choice([1, 4, 50])))


def _resize(rng, data):
    """Overwrite what may be a size with an extreme one."""
    layout = rng.choice("<>") + rng.choice("HI")
    size = struct.calcsize(layout)
    if len(data) >= size:
        at = min(_position(rng, data), len(data) - size)
        data[at : at + size] = struct.pack(layout, rng.choice(SIZES) & (256**size - 1))


def _append(rng, data):
    data += rng.choice([bytes(1), bytes(1000), b"\xff\xd9", b"PK\x05\x06" + bytes(18), bytes(data[:200])])


BYTE_CHANGES = [_truncate, _flip, _flip, _set, _set, _run, _splice, _insert, _resize, _resize, _append]

PNG_START = b"\x89PNG\r\n\x1a\n"


def png_chunks(data):
    """Return kind and content of the chunks of a PNG file."""
    chunks, at = [], len(PNG_START)
    while at + 8 <= len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    return chunks


def png_file(chunks):
    """Return a PNG file with valid checksums."""
    parts = [PNG_START]
    for kind, content in chunks:
        checked = kind + content
        parts += [struct.pack(">I", len(content)), checked, struct.pack(">I", zlib.crc32(checked))]
    return b"".join(parts)


def mutated_png(rng, data):
    """Return a PNG file whose chunks are changed and whose checksums are valid, so that its content is read."""
    chunks = png_chunks(data)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(chunks)) if chunks else 0
        choice = rng.random()
        if choice < 0.45 and chunks:
            kind, content = chunks[at]
            content = zlib.compress(mutated_bytes(rng, _inflated(content))) if kind == b"IDAT" else content
            chunks[at] = (kind, mutated_bytes(rng, content, 1) if kind != b"IDAT" or choice < 0.1 else content)
        elif choice < 0.55 and chunks:
            del chunks[at]
        elif choice < 0.65 and chunks:
            chunks.insert(rng.randint(0, len(chunks)), chunks[at])
        elif choice < 0.75 and chunks and chunks[0][0] == b"IHDR" and len(chunks[0][1]) == 13:
            chunks[0] = (b"IHDR", _header(rng, chunks[0][1]))
        else:
            chunks.insert(rng.randint(0, len(chunks)), rng.choice(ODD_CHUNKS))
    return png_file(chunks)


def _inflated(content):
    try:
        return zlib.decompress(content)
    except zlib.error:
        return content


def _header(rng, content):
    width, height, *rest = struct.unpack(">IIBBBBB", content)
    sides = [width, height, *SIZES]
    depth, color = rng.choice([1, 2, 4, 8, 16, 3]), rng.choice([0, 2, 3, 4, 6, 7])
    return struct.pack(
        ">IIBBBBB", rng.choice(sides), rng.choice(sides), depth, color, rest[2], rest[3], rng.choice([0, 1])
    )


BOMB = zlib.compress(bytes(50_000_000), 9)
ODD_CHUNKS = [
    (b"zTXt", b"Comment\0\0" + BOMB),
    (b"iTXt", b"Comment\0\1\0\0\0" + BOMB),
    (b"iCCP", b"icc\0\0" + BOMB),
    (b"iCCP", b"icc\0\0" + zlib.compress(bytes(300))),
    (b"tEXt", b"Software\0" + b"a" * 100_000),
    (b"tRNS", b"\0\1"),
    (b"tRNS", bytes(300)),
    (b"PLTE", bytes(9)),
    (b"PLTE", bytes(10)),
    (b"PLTE", bytes(3 * 300)),
    (b"eXIf", b"MM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0"),
    (b"eXIf", b"MM\0*\xff\xff\xff\xff"),
    (b"acTL", struct.pack(">II", 2**31, 0)),
    (b"acTL", struct.pack(">II", 2, 0)),
    (b"fcTL", struct.pack(">IIIIIHHBB", 0, 2**31, 2**31, 0, 0, 1, 1, 0, 0)),
    (b"gAMA", b"\0\0\0\0"),
    (b"sBIT", b"\x08"),
    (b"pHYs", bytes(9)),
    (b"IEND", b""),
    (b"IDAT", b""),
    (b"IDAT", BOMB),
    (b"\0\0\0\0", b"a"),
]
