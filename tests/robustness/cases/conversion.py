"""Damaged datasets that are converted to another format, whose result is compared with them."""

import re

from tests.robustness.boundary import FaultError, Repaired, command
from tests.robustness.cases import Kind
from tests.robustness.cases.cards import CARDS, card, write_data
from tests.robustness.cases.exports import EXPORTS, prepare_one_of
from tests.robustness.cases.recipes import damaged
from visionkit.data.export.base import writers

DATASETS = [name for name in EXPORTS if name != "open_images_labels"]


def prepare(rng, folder):
    choice = rng.random()
    if choice < 0.8:
        prepare_one_of(DATASETS)(rng, folder)
    else:
        write_data(folder)
        text, data = card(rng.choice([name for name in CARDS if name not in ("csv", "shapes")])), b""
        while b"format:" not in data:  # without data, the many images of the embedded dataset would be converted
            data = damaged(rng, text)
        (folder / "card.yaml").write_bytes(data)
    link = ["--link"] if rng.random() < 0.2 else []
    return ["card.yaml", "--to", rng.choice([*writers]), "out", "--check", *link]


FEWER_OBJECTS = re.compile(r"objects\W+\d+\W+\d+\W+DIFFERS")
"""On such small images, two objects can become equal, of which the readers of text formats drop one."""


def run(*words):
    try:
        command(["data", "convert", *words])
    except Repaired as difference:
        if not FEWER_OBJECTS.search(str(difference)):
            raise FaultError("traceback", f"the result differs from its source: {difference}") from None
        raise


KIND = Kind(prepare, run, confined=True)
