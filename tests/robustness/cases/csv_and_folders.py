"""Damaged CSV tables, and class folders with odd names and files."""

import os

from PIL import Image

from tests.robustness.cases import Kind
from tests.robustness.cases.masks import plain
from tests.robustness.cases.reading import run_card, write_card
from tests.robustness.mutations import SECRET, TEXTS, encoded_text, mutated_bytes, mutated_text

TABLE = 'id,path,label\n1,"a.png",cat\n2,sub/b.png,dog\n3,c.png,cat\n'
NAMES = [
    *(
        "cat",
        "dog",
        "[/red]",
        "a\nb",
        "\x1b[2J",
        "😀",
        "e\u0301",
        "\u00e9",
        " ",
        "a b",
        "-",
        "x" * 200,
        "CON",
        ".hidden",
    ),
    *("val", "train", "__MACOSX", "a=b", "%s", "{0}", "\u202eabc", "\udcff\udcfe", "cat.png", "null", "1", "~"),
]


def prepare(rng, folder):
    way = rng.choice(["check", "read", "read"])
    if rng.random() < 0.5:
        prepare_table(rng, folder)
    else:
        prepare_folders(rng, folder)
    return [way]


def prepare_table(rng, folder):
    (folder / "sub").mkdir()
    for name in ("a.png", "c.png", "sub/b.png"):
        Image.new("RGB", (8, 6), 90).save(folder / name)
    choice = rng.random()
    if choice < 0.5:
        data = encoded_text(rng, mutated_text(rng, TABLE))
    elif choice < 0.8:
        row = [rng.choice(["a.png", SECRET, *TEXTS]), rng.choice(["cat", *TEXTS])]
        data = encoded_text(rng, TABLE + f'4,"{row[0]}","{row[1]}"\n' * rng.choice([1, 1, 500]))
    else:
        data = mutated_bytes(rng, TABLE.encode())
    (folder / "t.csv").write_bytes(data)
    split = {"annotations": "t.csv", **rng.choice([{}, {}, {"separator": "|"}, {"separator": rng.choice(TEXTS)}])}
    if rng.random() < 0.2:
        split["on_bad_file"] = "skip"
    write_card(folder, format="csv", splits=plain({"train": split, "val": split}))


def prepare_folders(rng, folder):
    for name in dict.fromkeys(["cat", *(rng.choice(NAMES) for _ in range(rng.randint(1, 4)))]):
        (folder / "d" / name).mkdir(parents=True)
        for number in range(rng.randint(0, 3)):
            path = folder / "d" / name / f"{rng.choice(['a', *NAMES])}{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            rng.choice(MAKERS)(rng, path)
    options = {"classes": rng.sample(NAMES, rng.randint(0, 3))} if rng.random() < 0.3 else {}
    split = {"path": rng.choice(["d"] * 9 + ["", "..", "d/../d", "d/cat"])}
    if rng.random() < 0.3:
        split["on_bad_file"] = "skip"
    write_card(folder, format="folder", splits={"train": split, "val": split}, **plain(options))


def _image(rng, path):
    Image.new(rng.choice(["RGB", "L", "P", "1", "RGBA"]), (8, 6)).save(path, "PNG")


def _empty(rng, path):
    path.touch()


def _folder(rng, path):
    path.mkdir()


def _fifo(rng, path):
    os.mkfifo(path)


def _link(rng, path):
    path.symlink_to(rng.choice(["/dev/zero", "/dev/null", "gone.png", ".", "..", path.name, "/proc/self/mem"]))


def _text(rng, path):
    path.write_bytes(rng.choice([b"<html>", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"GIF89a", b"\xff\xd8\xff", bytes(5000)]))


def _damaged(rng, path):
    _image(rng, path)
    path.write_bytes(mutated_bytes(rng, path.read_bytes()))


MAKERS = [_image, _image, _image, _empty, _folder, _fifo, _link, _text, _damaged]

KIND = Kind(prepare, run_card)
