"""The documentation: commands compose, snippets are valid, walkthroughs run, the reference pages are complete."""

import dataclasses
import importlib
import inspect
import re
import shlex
import sys
import textwrap
import typing

import pytest
import torch
import yaml
from PIL import Image

import visionkit as vk
from tests.helpers.process_copies import run_in_copy
from tests.helpers.real_data import REPOSITORY
from visionkit.cli.config.compose import compose
from visionkit.cli.config.schema import check, recipe_section
from visionkit.cli.main import main
from visionkit.data.datasets.shapes import Shapes
from visionkit.data.transforms.create import create_transform
from visionkit.models import models
from visionkit.plugins import import_file
from visionkit.tasks import tasks

DOCS = REPOSITORY / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
SMALL = ["data.num_workers=0", "trainer.enable_progress_bar=false", "trainer.enable_model_summary=false"]


def commands(page):
    """The `visionkit fit` commands of a page on shipped recipes and cards."""
    text = page.read_text().replace("\\\n", "")
    words = [
        shlex.split(line.split("  #")[0]) for line in re.findall(r"^(?:    )?visionkit fit .+$", text, re.MULTILINE)
    ]
    return [line[2:] for line in words]


def is_shipped(words):
    files = [word for word in words if "=" not in word and not word.startswith("--")]
    return files and all((REPOSITORY / word).is_file() for word in files) and "..." not in " ".join(words)


SHIPPED = [(page.name, words) for page in PAGES for words in commands(page) if is_shipped(words)]


@pytest.mark.parametrize(("page", "words"), SHIPPED, ids=[f"{page} {' '.join(words)}" for page, words in SHIPPED])
def test_commands_on_shipped_files_compose(page, words, monkeypatch, capsys):
    monkeypatch.chdir(REPOSITORY)
    assert main(["fit", *words, "--dry-run"]) == 0, capsys.readouterr().err


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(DOCS)) for page in PAGES])
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize(
    ("page", "section", "options"),
    [
        ("tasks/detection.md", "nms", vk.NMSOptions),
        ("tasks/detection.md", "inference", vk.DetectionInferenceOptions),
        ("tasks/segmentation.md", "inference", vk.SegmentationInferenceOptions),
        ("tasks/classification.md", "inference", vk.ClassificationInferenceOptions),
        ("tasks/classification.md", "mixing", vk.MixingOptions),
        ("tasks/classification.md", "loss", vk.ClassificationLossOptions),
        ("tasks/segmentation.md", "loss", vk.SegmentationLossOptions),
        ("tasks/multi.md", "balancing", vk.BalancingOptions),
        ("tasks/multi.md", "evaluation", vk.MultiEvaluationOptions),
    ],
)
def test_snippets_are_valid_options(page, section, options):
    snippets = re.findall(r"^    (\w+: \{.*\})", (DOCS / page).read_text(), re.MULTILINE)
    found = [yaml.safe_load(snippet) for snippet in snippets]
    values = [given.get(section) or given.get("model", {}).get(section) for given in found]
    checked = [options(**value) for value in values if value]
    assert checked


def files_of(page):
    """The titled code blocks of a walkthrough."""
    return dict(re.findall(r'```\w+ title="([^"]+)"\n(.*?)```', page.read_text(), re.DOTALL))


def run(folder, *words):
    done = run_in_copy(f"sys.exit(main({words!r}))", folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def walkthrough(tmp_path):
    """Write the files of a walkthrough into a folder, and return it."""

    def follow(name):
        for file, text in files_of(DOCS / "contributing" / name).items():
            (tmp_path / file).write_text(text)
        return tmp_path

    return follow


def test_a_model_is_added_in_one_file(walkthrough):
    folder = walkthrough("add-a-model.md")
    run(folder, "fit", "linear_probe.yaml", *SMALL)
    assert "mIoU" in run(folder, "validate", "runs/linear_probe/1/best.ckpt", "--plugin", "linear_probe.py")


def test_a_format_is_added_in_one_file(walkthrough):
    folder = walkthrough("add-a-format.md")
    (folder / "photos").mkdir()
    for split in ("train", "val"):
        rows, shapes = ["file,class,x1,y1,x2,y2"], Shapes(split=split, count=3, size=64, empty_share=0.0)
        for index in range(3):
            sample, name = shapes[index], f"{split}{index}.png"
            Image.fromarray(sample.image).save(folder / "photos" / name)
            for box, label in zip(sample.annotation.boxes.tolist(), sample.annotation.labels, strict=True):
                rows.append(",".join([name, shapes.class_names[label], *map(str, box)]))
        (folder / "photos" / f"{split}.csv").write_text("\n".join(rows))
    card = (folder / "mine.yaml").read_text() + "  classes: [disc, square, triangle, star, ring, cross]\n"
    (folder / "mine.yaml").write_text(card)
    plugin = ["--plugin", "boxes_table.py"]
    assert "3 images" in run(folder, "data", "check", "mine.yaml", *plugin)
    recipe = str(REPOSITORY / "recipes" / "faster_rcnn_resnet50.yaml")
    small = ["model.backbone={name: resnet18, weights: none}", "preprocess.short_side=64", "trainer.max_epochs=1"]
    small += ["data.batch_size=2", "trainer.accelerator=cpu", "model.backbone.batch_norm=trained"]
    run(folder, "fit", recipe, "mine.yaml", *plugin, *small, "model.backbone.frozen_stages=0", *SMALL)


def test_a_transform_is_added_in_one_file(walkthrough):
    folder = walkthrough("add-a-transform.md")
    import_file(folder / "salt_and_pepper.py")
    image = Shapes(count=1, size=64)[0].image
    changed = (create_transform({"name": "SaltAndPepper", "share": 0.2, "p": 1.0})(image=image)["image"] != image).any(
        -1
    )
    assert 0.1 < changed.mean() < 0.3


def test_option_tables_are_generated_from_the_code():
    sys.path.insert(0, str(DOCS))
    from reference_tables import on_page_markdown

    text = on_page_markdown((DOCS / "reference" / "recipes.md").read_text())
    assert "::" not in re.sub(r"`[^`]*`", "", text)
    assert "| `max_detections` | `int` | `100` |" in text
    for name in vk.list_models():
        assert f"#### `{name}`" in text


REFERENCE = (DOCS / "reference" / "recipes.md").read_text()


def option_groups(annotation):
    """Yield the dataclasses of a type annotation, and those of their fields."""
    for part in typing.get_args(annotation):
        yield from option_groups(part)
    if dataclasses.is_dataclass(annotation):
        yield annotation
        for kind in typing.get_type_hints(annotation).values():
            yield from option_groups(kind)


def groups_of_parameters(function):
    hints = typing.get_type_hints(function.__init__ if inspect.isclass(function) else function)
    return {group for kind in hints.values() for group in option_groups(kind)}


@pytest.mark.parametrize(
    "taker",
    [*map(models.get, models), vk.VisionData, vk.make_callbacks, vk.create_backbone],
    ids=lambda taker: taker.__name__,
)
def test_every_option_group_of_a_parameter_has_its_table(taker):
    missing = {group.__name__ for group in groups_of_parameters(taker) - {vk.Stage}} - tables()
    assert not missing


@pytest.mark.parametrize("task", tasks)
def test_every_option_group_of_a_task_has_its_table(task):
    assert {kind.__name__ for kind in tasks.get(task).sections().values()} <= tables()


def tables():
    """The names after `::options` on the reference page."""
    return {path.rpartition(".")[2] for path in re.findall(r"^::options (\S+)$", REFERENCE, re.MULTILINE)}


@pytest.mark.parametrize("recipe", ["faster_rcnn_resnet50", "resnet50_imagenet", "unet_resnet50"])
def test_every_section_of_a_recipe_is_on_the_reference_page(recipe):
    headings = " ".join(re.findall(r"^## .*$", REFERENCE, re.MULTILINE))
    sections = recipe_section(compose([str(REPOSITORY / "recipes" / f"{recipe}.yaml")])).keys
    assert [name for name in sections if f"`{name}`" not in headings] == []


def test_the_api_page_has_every_public_name_and_no_other():
    paths = re.findall(r"^::: (\S+)$", (DOCS / "api.md").read_text(), re.MULTILINE)
    on_page = {path.rpartition(".")[2]: path.rpartition(".")[0] for path in paths}
    assert sorted([*on_page, "__version__"]) == sorted(vk.__all__)
    for name, module in on_page.items():
        assert getattr(vk, name) is getattr(importlib.import_module(module), name)


def python_equivalents():
    """The expressions `vk.Name(...)` of the tables that compare Python libraries."""
    page = (DOCS / "coming-from.md").read_text()
    sections = re.findall(
        r"^## (?:segmentation_models.pytorch|timm|torchgeo)\n(.*?)(?=^## |\Z)", page, re.DOTALL | re.MULTILINE
    )
    return [found for section in sections for found in re.findall(r"`(vk\.[^`]+\))`", section)]


@pytest.mark.parametrize("expression", python_equivalents())
def test_python_equivalents_run(expression, monkeypatch):
    create = vk.create_backbone

    def without_weights(name, weights="none", **options):
        return create(name, weights="none", **{**options, "frozen_stages": 0})

    monkeypatch.setattr(vk, "create_backbone", without_weights)
    pairs = [(torch.zeros(3, 32, 32, dtype=torch.uint8), 0)]
    assert eval(expression, {"vk": vk, "K": 2, "pairs": pairs}) is not None


def test_the_datasets_made_in_python_load():
    blocks = re.findall(r"```python\n(.+?)```", (DOCS / "getting-started.md").read_text(), flags=re.DOTALL)
    snippet = next(block for block in blocks if "from_datasets" in block)
    names: dict[str, object] = {}
    exec(snippet.replace("batch_size=4", "batch_size=4, num_workers=0"), names)
    batch = next(iter(names["data"].train_dataloader()))
    assert [target["labels"].tolist() for target in batch.targets] == [[0]] * 4


def python_block(page, word):
    """Return the Python code block of a page that has a word."""
    blocks = re.findall(r"```python\n(.+?)```", (DOCS / page).read_text(), flags=re.DOTALL)
    return next(block for block in blocks if word in block)


def test_the_model_of_several_heads_made_in_python_has_gradients():
    names: dict[str, typing.Any] = {}
    exec(python_block("getting-started.md", "MultiHead"), names)
    model = names["model"]
    assert all(parameter.grad is not None for parameter in model.backbone.parameters())
    assert type(names["alone"]) is vk.RetinaNet


def test_several_heads_are_trained_in_python(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, typing.Any] = {}
    exec(python_block("tasks/multi.md", "MultiTask"), names)
    assert {"val/mean_metric", "val/objects/AP", "val/tags/mAP"} <= names["task"].trainer.callback_metrics.keys()
    assert type(names["detector"]) is vk.DetectionPipeline
    assert not [*tmp_path.iterdir()]


def test_the_recipe_of_several_heads_composes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (DOCS / "tasks" / "multi.md").read_text()
    recipe = re.search(r"## Recipe\n\n((?:    .+\n)+)", text)
    (tmp_path / "my_recipe.yaml").write_text(textwrap.dedent(recipe[1]))
    kinds = {"boxes": "coco", "masks": "masks", "labels": "csv"}
    for name, format in kinds.items():
        (tmp_path / f"{name}.yaml").write_text(f"data: {{format: {format}, root: .}}\n")
    composed = compose(["my_recipe.yaml", *(f"{name}.yaml" for name in kinds)])
    check(composed)
    heads = {name: card["heads"] for name, card in composed.values["data"]["cards"].items()}
    assert heads == {"boxes": ["objects"], "masks": ["regions"], "labels": ["tags"]}
