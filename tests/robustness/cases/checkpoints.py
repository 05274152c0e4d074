"""Damaged checkpoints: bytes, records of the archive, pickles that run code, descriptions and weights."""

import copy
import io
import pickle
import zipfile
from pathlib import Path

import torch
from PIL import Image

import visionkit as vk
from tests.robustness.boundary import command
from tests.robustness.cases import Kind
from tests.robustness.cases.models import checkpoint, content
from tests.robustness.mutations import CANARY, HOSTILE, mutated_bytes, mutated_tree

TASKS = ["classification", "classification", "detection", "segmentation", "multi"]


class Payload:
    """Writes the canary when it is unpickled."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


def payloads():
    """Return objects that run code when they are unpickled."""
    import os
    import subprocess

    return [
        Payload(os.system, f"touch {CANARY}"),
        Payload(subprocess.check_call, ["touch", CANARY]),
        Payload(eval, f"open({CANARY!r}, 'w')"),
        Payload(exec, f"open({CANARY!r}, 'w')"),
        Payload(open, CANARY, "w"),
        Payload(torch.save, {}, CANARY),
    ]


def prepare(rng, folder):
    Image.new("RGB", (40, 32), 90).save(folder / "a.png")
    task = rng.choice(TASKS)
    damage = rng.choice(DAMAGES)
    (folder / "best.ckpt").write_bytes(damage(rng, task))
    return [rng.choice(["load", "load", "load", "predict", "test"])]


def run(way):
    if way == "predict":
        command(["predict", "best.ckpt", "a.png", "--output", "out"])
    elif way == "test":
        command(["test", "best.ckpt", "data.num_workers=0", "trainer.accelerator=cpu"])
    else:
        for result in vk.load("best.ckpt").predict(Path("a.png")):
            result.to_dict()


def _bytes(rng, task):
    return mutated_bytes(rng, checkpoint(task))


def _records(rng, task):
    """Change, drop, rename, repeat or compress records of the archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(checkpoint(task))) as source:
        records = [(name, source.read(name)) for name in source.namelist()]
    small = [index for index, (_, data) in enumerate(records) if len(data) < 200_000]
    for _ in range(rng.randint(1, 2)):
        index = rng.choice([*small, *([0] * 20)]) % len(records)
        name, data = records[index]
        choice = rng.random()
        if choice < 0.6:
            records[index] = (name, mutated_bytes(rng, data, 1))
        elif choice < 0.7 and len(records) > 1:
            del records[index]
            small = [0]
        elif choice < 0.8:
            records[index] = (rng.choice([name + "x", "../" + name, "/" + name, "data.pkl", "x/data.pkl"]), data)
        elif choice < 0.9:
            records.append((name, mutated_bytes(rng, data)))
        else:
            records[index] = (name, rng.choice([b"", bytes(10), pickle.dumps(rng.choice(payloads()))]))
    compression = rng.choice([zipfile.ZIP_STORED] * 9 + [zipfile.ZIP_DEFLATED])
    with zipfile.ZipFile(buffer, "w", compression) as target:
        for name, data in records:
            target.writestr(zipfile.ZipInfo(name), data, compression)
    return buffer.getvalue()


def _code(rng, task):
    """Put an object that runs code in the description, the weights, or in place of all."""
    payload, made = rng.choice(payloads()), copy.deepcopy(content(task))
    choice = rng.random()
    if choice < 0.4:
        made["visionkit"][rng.choice([*made["visionkit"], "new"])] = payload
    elif choice < 0.8:
        made["state_dict"][rng.choice([*made["state_dict"], "new"])] = payload
    else:
        made = payload
    return saved(made) if rng.random() < 0.8 else pickle.dumps(made)


def _description(rng, task):
    made = {**content(task), "visionkit": mutated_tree(rng, content(task)["visionkit"])}
    if rng.random() < 0.1:
        made[rng.choice(["visionkit", "state_dict"])] = rng.choice(HOSTILE)
    return saved(made)


def _weights(rng, task):
    state = dict(content(task)["state_dict"])
    for _ in range(rng.randint(1, 2)):
        name = rng.choice(list(state))
        value = state[name]
        state[name] = rng.choice(WEIGHTS)(value)
        if rng.random() < 0.3:
            state[name + "x"] = state.pop(name)
    return saved({**content(task), "state_dict": state})


WEIGHTS = [
    lambda value: value * float("nan"),
    lambda value: value * float("inf"),
    lambda value: value * 1e38,
    lambda value: torch.full_like(value, 3e38) if value.is_floating_point() else value,
    lambda value: value.double(),
    lambda value: value.half(),
    lambda value: value.to(torch.complex64),
    lambda value: value.bool(),
    lambda value: value.to(torch.int8),
    lambda value: value.reshape(-1),
    lambda value: value[None],
    lambda value: value.new_zeros(0),
    lambda value: value.new_zeros(1).expand(10**6, 10**6),
    lambda value: value.to_sparse(),
    lambda value: value.flatten()[:1],
    lambda value: torch.zeros(value.shape, device="meta"),
    lambda value: torch.quantize_per_tensor(value.float(), 0.1, 0, torch.qint8),
    lambda value: torch.nn.Parameter(value.float()),
    lambda value: value.tolist(),
    lambda value: None,
    lambda value: "x",
]


def saved(made):
    """Return an object as `torch.save` writes it; nothing if it cannot be written."""
    buffer = io.BytesIO()
    try:
        torch.save(made, buffer)
    except Exception:  # what cannot be pickled is no case
        return b""
    return buffer.getvalue()


DAMAGES = [_bytes, _bytes, _records, _records, _code, _description, _description, _description, _weights]

KIND = Kind(prepare, run)
