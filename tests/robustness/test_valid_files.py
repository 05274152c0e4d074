"""The undamaged files are read and the undamaged commands succeed: otherwise the damage would change nothing."""

import random
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.robustness.boundary import run_here, sandbox
from tests.robustness.cases import NAMES, cards, exports, huggingface, kind_of, recipes
from tests.robustness.cases.models import checkpoint
from tests.robustness.cases.reading import run_card, write_card
from tests.robustness.checks import run_case
from tests.robustness.mutations import TREE_CHANGES, as_json, mutated_bytes, mutated_tree, places, png_chunks, png_file

NEEDS_PYARROW = pytest.mark.skipif(find_spec("pyarrow") is None, reason="needs pyarrow")
KINDS = [pytest.param(name, marks=NEEDS_PYARROW if name == "huggingface" else ()) for name in NAMES]


@pytest.mark.parametrize("way", ["compose", "build", "fit"])
@pytest.mark.parametrize("text", recipes.TEXTS, ids=["classification", "detection", "segmentation"])
def test_recipes(way, text, tmp_path):
    inside = sandbox(tmp_path / "run")
    (inside / "b.yaml").write_text(recipes.BASE)
    (inside / recipes.RECIPE).write_text(text)
    words = recipes.few(text is recipes.SEGMENTATION)
    ending = run_here(lambda: recipes.run(way, recipes.RECIPE, *words), inside)
    assert ending.kind == "success", ending


@pytest.mark.parametrize("data_format", cards.CARDS)
def test_cards(data_format, tmp_path):
    inside = sandbox(tmp_path / "run")
    cards.write_data(inside)
    (inside / "card.yaml").write_text(cards.card(data_format))
    ending = run_here(lambda: cards.run("check", "card.yaml"), inside)
    assert ending.kind == "success", ending


@pytest.mark.parametrize("name", exports.EXPORTS)
def test_exports(name, tmp_path):
    inside = sandbox(tmp_path / "run")
    export = exports.write_export(name, inside)
    split = {**export.options, **({"masks": True} if export.format in exports.MASKS else {})}
    write_card(inside, format=export.format, splits={"val": split})
    ending = run_here(lambda: run_card("read"), inside, confined=True)
    assert ending.kind in ("success", "repaired"), ending


@NEEDS_PYARROW
@pytest.mark.parametrize(("rows", "features"), huggingface.TABLES)
def test_tables_of_hugging_face(rows, features, tmp_path):
    inside = sandbox(tmp_path / "run")
    for path in {huggingface.write(random.Random(seed), inside, rows, features) for seed in (0, 1)}:
        write_card(inside, format="huggingface", splits={"val": {"path": path}})
        ending = run_here(lambda: run_card("read"), inside, confined=True)
        assert ending.kind == "success", ending


@pytest.mark.parametrize("name", exports.EXPORTS)
def test_folders_and_their_conversion(name, tmp_path):
    inside = sandbox(tmp_path / "run")
    (inside / "d").mkdir()
    export = exports.write_export(name, inside / "d")
    ending = run_here(lambda: kind_of("folders").run("init", "d", "--format", export.format), inside)
    assert ending.kind == "success", ending
    write_card(inside, format=export.format, root="d", splits={"val": export.options})
    ending = run_here(lambda: kind_of("conversion").run("card.yaml", "--to", "coco", "out", "--check"), inside)
    assert ending.kind == ("refused" if name == "open_images_labels" else "success"), ending  # it has no objects


@pytest.mark.parametrize("task", ["classification", "detection", "segmentation"])
@pytest.mark.parametrize("way", ["load", "predict", "test"])
def test_checkpoints(task, way, tmp_path):
    inside = sandbox(tmp_path / "run")
    (inside / "best.ckpt").write_bytes(checkpoint(task))
    Path(inside / "a.png").write_bytes((inside.parent / "outside" / "secret.png").read_bytes())
    ending = run_here(lambda: kind_of("checkpoints").run(way), inside)
    # the data of the recipe have other classes
    assert ending.kind == ("refused" if way == "test" else "success"), ending


@pytest.mark.parametrize("name", KINDS)
def test_equal_seeds_give_equal_cases(name, tmp_path):
    """A fault of the campaign can be repeated."""
    written = []
    for number in range(2):
        inside = sandbox(tmp_path / str(number))
        words = kind_of(name).prepare(random.Random("seed"), inside)
        files = {str(path.relative_to(inside)): path.read_bytes() for path in inside.rglob("*") if path.is_file()}
        written.append((words, files))
    assert written[0] == written[1]


@pytest.mark.parametrize("name", KINDS)
def test_some_cases_of_each_kind_succeed_and_others_are_refused(name, tmp_path):
    wanted = {"refused": False, "success": False}
    for seed in range(60):
        ending, _ = run_case(name, random.Random(seed), tmp_path / str(seed), run_here)
        wanted["success" if ending.kind == "repaired" else ending.kind] = True
        if all(wanted.values()):
            return
    pytest.fail(f"after 60 cases: {wanted}")


def test_mutations_keep_the_original_and_change_its_copy():
    tree = {"a": [1, {"b": "text"}], "c": {"d": None}}
    before = as_json(tree)
    made = [as_json(mutated_tree(random.Random(seed), tree)) for seed in range(100)]
    assert as_json(tree) == before
    assert sum(text != before for text in made) > 90
    assert any(len(text) > 1000 and "[[[[" in text for text in made), "deep lists"
    assert set(places(tree)) == {("a",), ("a", 0), ("a", 1), ("a", 1, "b"), ("c",), ("c", "d")}
    assert len(set(TREE_CHANGES)) == 9


def test_damaged_bytes_differ_and_a_png_file_is_taken_apart_and_joined():
    data = bytes(range(256))
    assert sum(mutated_bytes(random.Random(seed), data) != data for seed in range(100)) > 90
    assert mutated_bytes(random.Random(0), b"") is not None
    chunks = [(b"IHDR", bytes(13)), (b"IDAT", b"x"), (b"IEND", b"")]
    assert png_chunks(png_file(chunks)) == chunks
