"""Code from outside the package: an installed package, and a single file. Each is trained, saved, loaded and used."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.helpers.process_copies import run_in_copy
from visionkit import plugins
from visionkit.cli.config import catalog
from visionkit.cli.config.compose import compose
from visionkit.cli.config.schema import check
from visionkit.cli.main import main
from visionkit.errors import ConfigError
from visionkit.registry import Registry

REPOSITORY = Path(__file__).resolve().parents[1]

PACKAGE = {
    "tiny_vision/__init__.py": "import tiny_vision.networks\nimport tiny_vision.extras\n",
    "tiny_vision/networks.py": '''
import visionkit as vk
from torch import nn


@vk.register_backbone("tiny_backbone")
class TinyBackbone(vk.SequentialBackbone):
    """Two convolutions."""

    def __init__(self, name, out_stages=None, width: int = 4):
        stages = {"s2": vk.Stage(width, 2), "s4": vk.Stage(width, 4)}
        parts = {"s2": nn.Conv2d(3, width, 3, 2, 1), "s4": nn.Conv2d(width, width, 3, 2, 1)}
        super().__init__(name, stages, parts, out_stages, width=width)


@vk.register_model("tiny_segmenter")
class TinySegmenter(vk.SegmentationModel):
    """Classes of the deepest map, enlarged."""

    stride = 4

    def __init__(self, backbone: vk.Backbone, num_classes: int, *, nms: vk.NMSOptions = vk.NMSOptions()):
        super().__init__()
        self.backbone, self.num_classes = backbone, num_classes
        *_, deepest = backbone.stages.values()
        self.score = nn.Conv2d(deepest.channels, num_classes, 1)

    def _logits(self, x):
        *_, deepest = self.backbone(x).values()
        return nn.functional.interpolate(self.score(deepest), size=x.shape[-2:], mode="bilinear")
''',
    "tiny_vision/extras.py": '''
import albumentations
import torch
import visionkit as vk
from visionkit.data.datasets.shapes import Shapes


@vk.register_format("tiny_shapes")
class TinyShapes(Shapes):
    """The built-in shapes under another name."""


@vk.register_transform("TinyFlip")
class TinyFlip(albumentations.HorizontalFlip):
    """A flip under another name."""


@vk.register_loss("tiny_loss")
def tiny_loss(logits, classes, class_weights, settings):
    """Cross-entropy."""
    return torch.nn.functional.cross_entropy(logits, classes, ignore_index=255)


@vk.register_optimizer("tiny_sgd")
def tiny_sgd(groups, options):
    """SGD."""
    return torch.optim.SGD(groups, lr=options.lr)


@vk.register_schedule("tiny_schedule")
def tiny_schedule(options, epoch, epochs):
    """Constant."""
    return 1.0
''',
    "tiny_vision-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: tiny-vision\nVersion: 1.0\n",
    "tiny_vision-1.0.dist-info/entry_points.txt": "[visionkit.plugins]\ntiny = tiny_vision\n",
    "tiny_vision-1.0.dist-info/RECORD": "",
}
RECIPE = """
task: segmentation
model: {name: tiny_segmenter, backbone: {name: tiny_backbone, weights: none}}
loss: {terms: [tiny_loss]}
optimizer: {name: tiny_sgd, lr: 0.01}
schedule: {name: tiny_schedule}
data:
  format: tiny_shapes
  splits:
    train: {split: train, count: 2, size: 32, semantic: true}
    val: {split: val, count: 1, size: 32, semantic: true}
  batch_size: 2
  num_workers: 0
  augment: [{name: TinyFlip, p: 1.0}]
trainer: {max_epochs: 1, accelerator: cpu, enable_progress_bar: false, enable_model_summary: false}
"""
FILE = '''
"""A metric, a logger, and a detector that is another one with a smaller head."""

from dataclasses import dataclass

import visionkit as vk
from lightning.pytorch.loggers import CSVLogger
from visionkit.metrics.coco import CocoAP


@vk.register_model("my_detector")
class MyDetector(vk.RetinaNet):
    """RetinaNet under another name."""

    def __init__(self, backbone: vk.Backbone, num_classes: int, *, narrow: bool = True):
        super().__init__(backbone, num_classes, fpn_channels=8 if narrow else 16)


@vk.register_metric("my_metric")
class MyMetric(CocoAP):
    """COCO's AP under another name."""


@vk.register_logger("my_logger")
@dataclass
class MyLogger(vk.LoggerOptions):
    """A table in a folder of the run."""

    folder: str = "table"

    def make(self, folder):
        return CSVLogger(folder, name=self.folder, version="")
'''
FILE_RECIPE = """
plugins: [plugin_folder/my_detector.py]
task: detection
model: {name: my_detector, backbone: {name: resnet18, weights: none}}
evaluation: {metric: my_metric}
logger: {my_logger: {folder: mine}}
preprocess: {short_side: 64}
data:
  format: shapes
  splits: {train: {split: train, count: 2, size: 64}, val: {split: val, count: 1, size: 64}}
  batch_size: 2
  num_workers: 0
for: {my_detector: {schedule: {name: constant, warmup_steps: 0}}}
trainer: {max_epochs: 1, accelerator: cpu, enable_progress_bar: false, enable_model_summary: false}
"""


def write(folder, files):
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def python(code, cwd, *paths):
    """Run code in a new process with more folders on its import path."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(REPOSITORY), *map(str, paths)])}
    prelude = "import sys\nimport torch\ntorch.set_num_threads(1)\nfrom visionkit.cli.main import main\n"
    return subprocess.run(
        [sys.executable, "-c", prelude + code], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """Folder of an installed package, as pip leaves it."""
    return write(tmp_path_factory.mktemp("site"), PACKAGE)


@pytest.fixture
def installed(package, monkeypatch):
    """The package on this process's import path, where it is read but not imported."""
    monkeypatch.syspath_prepend(package)
    catalog.forget()
    yield package
    assert "tiny_vision" not in sys.modules
    catalog.forget_plugin_files()


@pytest.fixture(scope="module")
def run_of_package(package, tmp_path_factory):
    """A working folder in which a model of the package was trained for one step."""
    folder = write(tmp_path_factory.mktemp("package_run"), {"mine.yaml": RECIPE})
    done = run_in_copy("sys.exit(main(['fit', 'mine.yaml']))", folder, package)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


@pytest.fixture(scope="module")
def run_of_file(tmp_path_factory):
    """A working folder in which a model of a plugin file was trained for one step."""
    folder = tmp_path_factory.mktemp("file_run")
    write(folder, {"mine.yaml": FILE_RECIPE, "plugin_folder/my_detector.py": FILE})
    done = run_in_copy("sys.exit(main(['fit', 'mine.yaml']))", folder)
    assert done.returncode == 0, done.stderr[-2000:]
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(folder / "a.png")
    return folder


def test_names_of_an_installed_package_are_listed_with_their_origin(installed, capsys):
    assert main(["list"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line.startswith("  ")}
    for name in ("tiny_backbone", "tiny_segmenter"):
        assert lines[name].endswith("[plugin tiny_vision.networks]")
    for name in ("tiny_shapes", "TinyFlip", "tiny_loss", "tiny_sgd", "tiny_schedule"):
        assert lines[name].endswith("[plugin tiny_vision.extras]")
    assert "Two convolutions." in lines["tiny_backbone"]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("model.name=tiny_segmentor", "did you mean tiny_segmenter?"),
        ("model.backbone=tiny_backbon", "did you mean tiny_backbone?"),
        ("model.backbone.widht=3", "unknown key model.backbone.widht; did you mean width or weights?"),
        ("model.nms.iuo=3", "unknown key model.nms.iuo; did you mean iou?"),
        ("data.format=tiny_shape", "did you mean tiny_shapes or shapes"),
        ("data.splits.train.cuont=3", "unknown key data.splits.train.cuont; did you mean count?"),
        ("data.augment=[{name: TinyFlip, q: 1}]", "unknown key data.augment.0.q"),
    ],
)
def test_typos_are_matched_against_an_installed_package(installed, tmp_path, word, message):
    recipe = write(tmp_path, {"mine.yaml": RECIPE}) / "mine.yaml"
    check(compose([str(recipe)]))
    with pytest.raises(ConfigError) as error:
        check(compose([str(recipe), word]))
    assert message in str(error.value)


def test_a_checkpoint_of_an_installed_package_is_loaded_by_name(run_of_package, package):
    code = """
import numpy as np
import visionkit as vk
assert "tiny_vision" not in sys.modules
pipeline = vk.load("runs/mine/1/best.ckpt", device="cpu")
print(type(pipeline.network).__module__, pipeline.predict(np.zeros((32, 32, 3), np.uint8))[0].mask.shape)
assert "tiny_segmenter" in vk.list_models("segmentation") and "tiny_backbone" in vk.list_backbones()
sys.exit(main(["validate", "runs/mine/1/best.ckpt"]))
"""
    done = python(code, run_of_package, package)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "tiny_vision.networks" in done.stdout


def test_without_the_package_the_error_names_it(run_of_package):
    done = run_in_copy("import visionkit as vk\nvk.load('runs/mine/1/best.ckpt')", run_of_package)
    message = done.stderr[done.stderr.index("CheckpointError") :]
    assert re.search("unknown (backbone|model) .tiny_", message)
    assert "plugin tiny_vision.networks and tiny_vision.extras" in message
    assert "`import tiny_vision.networks, tiny_vision.extras`" in message


def test_a_plugin_file_is_imported_only_where_the_user_names_it(run_of_file):
    code = """
import os
os.environ["COLUMNS"] = "200"
checkpoint = "runs/mine/1/best.ckpt"
assert main(["predict", checkpoint, "a.png"]) == 2
assert main(["validate", checkpoint]) == 2
assert "my_detector" not in sys.modules
assert main(["predict", checkpoint, "a.png", "--plugin", "plugin_folder/my_detector.py"]) == 0
assert main(["validate", checkpoint, "--plugin", "plugin_folder/my_detector.py"]) == 0
assert sys.modules["my_detector"].MyDetector is not None
"""
    done = run_in_copy(code, run_of_file)
    assert done.returncode == 0, done.stderr[-2000:]
    advice = "import it first: `import my_detector` in Python, or --plugin my_detector.py on the command line"
    assert done.stderr.count(advice) == 2
    assert "unknown model 'my_detector'" in done.stderr


def test_a_logger_of_a_plugin_file_gets_metrics_and_recipe(run_of_file):
    run = run_of_file / "runs/mine/1"
    assert "val/AP" in (run / "mine/metrics.csv").read_text()
    assert "my_logger" in (run / "mine/hparams.yaml").read_text()
    assert "val/AP" in (run / "metrics.csv").read_text()


def test_the_options_of_a_logger_of_a_plugin_file_are_checked(tmp_path):
    write(tmp_path, {"mine.yaml": FILE_RECIPE, "plugin_folder/my_detector.py": FILE})
    with pytest.raises(ConfigError, match=r"unknown key logger\.my_logger\.foldr; did you mean folder"):
        check(compose([str(tmp_path / "mine.yaml"), "logger.my_logger.foldr=3"]))
    catalog.forget_plugin_files()


def test_the_module_of_a_plugin_file_can_be_imported_in_python(run_of_file):
    code = """
import visionkit as vk
sys.path.insert(0, "plugin_folder")
import my_detector
pipeline = vk.load("runs/mine/1/best.ckpt", device="cpu")
assert isinstance(pipeline.network, my_detector.MyDetector)
print(len(pipeline.predict("a.png")))
"""
    done = run_in_copy(code, run_of_file)
    assert done.returncode == 0, done.stderr[-2000:]


def test_the_recipe_of_a_run_names_the_file_absolutely(run_of_file):
    recipe = compose([str(run_of_file / "runs" / "mine" / "1" / "recipe.yaml")]).values
    assert recipe["plugins"] == [str(run_of_file / "plugin_folder" / "my_detector.py")]


def test_names_of_a_plugin_file_are_listed_without_importing_it(tmp_path, capsys):
    path = write(tmp_path, {"my_listed.py": FILE}) / "my_listed.py"
    assert main(["list", "models", "--plugin", str(path)]) == 0
    assert "RetinaNet under another name.  [plugin my_listed]" in capsys.readouterr().out
    assert main(["list", "models"]) == 0
    assert "my_detector" not in capsys.readouterr().out
    assert "my_listed" not in sys.modules


def test_plugins_of_a_recipe_a_card_and_the_command_line_are_all_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path, {f"{name}.py": "" for name in ("a_plugin", "b_plugin", "c_plugin")})
    write(tmp_path, {"recipe.yaml": "plugins: [a_plugin.py]\ntask: detection\n"})
    write(tmp_path, {"cards/card.yaml": "plugins: ../b_plugin.py\ndata: {batch_size: 3}\n"})
    values = compose(["recipe.yaml", "cards/card.yaml", "plugins=[c_plugin.py, a_plugin.py]"]).values
    assert values["plugins"] == [str(tmp_path / f"{name}_plugin.py") for name in "abc"]
    catalog.forget_plugin_files()


def test_a_checkpoint_s_plugins_are_not_part_of_the_recipe():
    before = {"task": "detection", "plugins": ["/evil.py"], "data": {"format": "shapes"}}
    assert "plugins" not in compose([], onto=before).values


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("plugins: [gone.py]", "there is no plugin"),
        ("plugins: [mine.yaml]", "a plugin is a Python file"),
        ("plugins: 3", "plugins takes a Python file or a list of them, not 3"),
    ],
)
def test_plugins_that_cannot_be_used_are_named(tmp_path, text, message):
    write(tmp_path, {"mine.yaml": f"seed: 1\n{text}\n"})
    with pytest.raises(ConfigError, match=message) as error:
        compose([str(tmp_path / "mine.yaml")])
    assert str(error.value).endswith("mine.yaml:2")


def test_a_file_that_fails_or_has_the_name_of_another_module_is_refused(tmp_path):
    write(tmp_path, {"json.py": "", "broken_plugin.py": "1 / 0", "sound_plugin.py": ""})
    with pytest.raises(ConfigError, match="has the name of"):
        plugins.import_file(tmp_path / "json.py")
    with pytest.raises(ConfigError, match="cannot be imported: ZeroDivisionError"):
        plugins.import_file(tmp_path / "broken_plugin.py")
    assert "broken_plugin" not in sys.modules
    assert plugins.import_file(tmp_path / "sound_plugin.py") is plugins.import_file(tmp_path / "sound_plugin.py")
    del sys.modules["sound_plugin"]
    sys.path.remove(str(tmp_path))


def test_an_installed_plugin_that_fails_leaves_other_names_usable(tmp_path, monkeypatch, caplog):
    files = {name.replace("tiny_vision", "broken_vision"): text for name, text in PACKAGE.items()}
    files = {name: text.replace("tiny_vision", "broken_vision") for name, text in files.items()}
    files["broken_vision/__init__.py"] = "import gone_away\n"
    monkeypatch.syspath_prepend(write(tmp_path, files))
    plugins.import_installed.cache_clear()
    registry = Registry("thing")
    registry.register("one")(write)
    with pytest.raises(ConfigError, match=r"unknown thing .oen.; did you mean one\?"):
        registry.get("oen")
    assert "the installed plugin broken_vision cannot be imported: ModuleNotFoundError" in caplog.text
    plugins.import_installed.cache_clear()
