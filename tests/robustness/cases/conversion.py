"""Damaged datasets that are converted to another format, whose result is compared with them."""

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
        text = card(rng.choice([name for name in CARDS if name != "csv"]))
        (folder / "card.yaml").write_bytes(damaged(rng, text))
    link = ["--link"] if rng.random() < 0.2 else []
    return ["card.yaml", "--to", rng.choice([*writers]), "out", "--check", *link]


def run(*words):
    try:
        command(["data", "convert", *words])
    except Repaired as difference:
        raise FaultError("traceback", f"the result differs from its source: {difference}") from None


KIND = Kind(prepare, run, confined=True)
