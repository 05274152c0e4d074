"""Damaged files of packed data: the index, the tables, whose digests fit again, and the shards."""

import functools
import json
import shutil
import tempfile
from pathlib import Path

from tests.helpers.export_source import write_source
from tests.helpers.packed_files import write_packed
from tests.robustness.cases import Kind
from tests.robustness.cases.reading import run_card, write_card
from tests.robustness.mutations import as_json, mutated_bytes, mutated_tree
from visionkit.data.io.fetch import sha256_of
from visionkit.data.packed.layout import INDEX, TABLES, table_file


@functools.cache
def source():
    """Return the folder of a packed dataset with masks, which is made once."""
    folder = Path(tempfile.mkdtemp(prefix="packed-"))
    return write_packed(folder / "packed", write_source(folder / "source"))


def prepare(rng, folder):
    shutil.copytree(source(), folder, dirs_exist_ok=True)
    index, choice = json.loads((folder / INDEX).read_text()), rng.random()
    split = rng.choice(["train", "val"])
    if choice < 0.4:
        index = mutated_tree(rng, index)
    elif choice < 0.8:
        damage_table(rng, folder / split, index["splits"][split]["tables"])
    else:
        shard = folder / split / index["splits"][split]["shards"][0]["file"]
        data = bytearray(shard.read_bytes())
        for _ in range(rng.randint(1, 4)):
            data[rng.randrange(min(len(data), rng.choice([40, 10_000])))] = rng.randrange(256)
        shard.write_bytes(data[: rng.choice([len(data), len(data), rng.randrange(len(data))])])
    (folder / INDEX).write_text(as_json(index))
    write_card(folder, format="packed", splits={name: {"split": name} for name in ("train", "val")})
    return [rng.choice(["check", "read", "read"])]


def damage_table(rng, folder, files):
    """Damage a table. Mostly, the index then describes the new file."""
    name = rng.choice(list(TABLES))
    path = folder / table_file(name)
    data = path.read_bytes()
    if rng.random() < 0.8 and data:
        changed = bytearray(data)
        for _ in range(rng.randint(1, 3)):
            changed[rng.randrange(len(changed))] = rng.choice([0, 1, 127, 128, 255])
    else:
        changed = mutated_bytes(rng, data)
    path.write_bytes(changed)
    if rng.random() < 0.9:
        files[name].update(bytes=len(changed), sha256=sha256_of(path))


KIND = Kind(prepare, run_card, confined=True)
