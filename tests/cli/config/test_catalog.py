import inspect
import subprocess
import sys
import time

import pytest

from visionkit.backbones import backbones
from visionkit.cli.config import catalog, python_source
from visionkit.cli.config.compose import compose
from visionkit.cli.config.schema import check
from visionkit.data.datasets.base import formats
from visionkit.data.transforms import augmentation
from visionkit.data.transforms.create import transforms
from visionkit.engine.logger_options import loggers
from visionkit.metrics.detection import detection_metrics
from visionkit.models import models
from visionkit.ops.segmentation_losses import losses
from visionkit.tasks import tasks
from visionkit.tasks.optimizers import optimizers
from visionkit.tasks.schedules import schedules

REGISTRIES = {
    "backbones": backbones,
    "formats": formats,
    "loggers": loggers,
    "losses": losses,
    "metrics": detection_metrics,
    "models": models,
    "optimizers": optimizers,
    "schedules": schedules,
    "tasks": tasks,
    "transforms": transforms,
}


assert augmentation, "it imports the modules that register transforms"


def own(registry):
    """Names that visionkit registers itself; other tests may have registered more."""
    entries = {name: registry.get(name) for name in registry}
    return {name for name, entry in entries.items() if entry.__module__.startswith("visionkit.")}


def test_every_registry_is_compared():
    assert set(REGISTRIES) == set(catalog.REGISTRIES)


@pytest.mark.parametrize("name", REGISTRIES)
def test_the_source_has_the_entries_of_the_registry(name):
    assert set(catalog.registered(name)) == own(REGISTRIES[name])


@pytest.mark.parametrize("name", REGISTRIES)
def test_every_entry_is_the_registered_code(name):
    for entry in catalog.registered(name).values():
        imported = REGISTRIES[name].get(entry.name)
        assert (entry.definition.module.name, entry.definition.name) == (imported.__module__, imported.__name__)
        assert entry.plugin == ""


@pytest.mark.parametrize("name", ["backbones", "models", "formats"])
def test_what_can_be_listed_has_a_summary(name):
    for entry in catalog.registered(name).values():
        summary = entry.definition.summary
        assert summary == inspect.getdoc(REGISTRIES[name].get(entry.name)).split("\n")[0] != ""


SOURCE = '''
import visionkit as vk
from visionkit.models import models
from visionkit.models import models as networks
from visionkit.registry import Registry

modes = Registry("mode")


@models.register("one")
@modes.register("three")
class A(vk.DetectionModel):
    """First line.

    Second.
    """


@networks.register(
    "two",
)
def make(
    size: str = "a:b",
) -> None:
    ...


@vk.register_model("four")
class C(A): ...


@vk.register_backbone("five", "six")
class D(vk.Backbone): ...


@register("seven")
def c(): ...


@atexit.register
def b(): ...
'''


@pytest.fixture
def plugin_file(tmp_path):
    path = tmp_path / "made_up_plugin.py"
    path.write_text(SOURCE)
    catalog.add_plugin_file(path)
    yield path
    catalog.forget_plugin_files()


def test_every_form_of_a_decorator_is_resolved_to_its_registry(plugin_file):
    added = {name: entry for name, entry in catalog.registered("models").items() if entry.plugin}
    assert {name: entry.definition.name for name, entry in added.items()} == {"one": "A", "two": "make", "four": "C"}
    assert added["one"].definition.summary == "First line."
    assert python_source.class_constant(added["four"].definition, "task") == "detection"
    assert {name for name, entry in catalog.registered("backbones").items() if entry.plugin} == {"five", "six"}
    assert "made_up_plugin" not in sys.modules


def test_plugin_files_are_forgotten(plugin_file):
    assert "one" in catalog.registered("models")
    catalog.forget_plugin_files()
    assert "one" not in catalog.registered("models")


def test_names_and_a_recipe_cost_the_parsing_of_some_files_once():
    python_source.parse.cache_clear()
    check(compose(["faster_rcnn_resnet50"]))
    parsed = python_source.parse.cache_info().misses
    assert parsed < 200
    check(compose(["unet", "data.augment=[{name: HorizontalFlip}]"]))
    assert python_source.parse.cache_info().misses < parsed + 30


def test_listing_is_quick():
    start = time.process_time()
    code = "import resource; from visionkit.cli.main import main; main(['list']); "
    code += "print(resource.getrusage(resource.RUSAGE_SELF).ru_utime)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout.split()[-1]) < 2, "seconds of CPU time"
    assert time.process_time() - start < 2
