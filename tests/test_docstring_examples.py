"""Every public class has a runnable `Example:` in its docstring."""

import doctest
import inspect
import sys

import pytest
import torch

import visionkit as vk
from visionkit.backbones import backbones
from visionkit.backbones.shared import SharedBackbone
from visionkit.backbones.timm_features import TimmBackbone
from visionkit.backbones.timm_pre_logits import TimmPreLogits
from visionkit.data.datasets.base import formats
from visionkit.data.transforms import augmentation
from visionkit.data.transforms.create import transforms
from visionkit.metrics.detection import detection_metrics
from visionkit.models import models
from visionkit.tasks import tasks
from visionkit.tasks.balancing import balancers

assert augmentation, "it imports the modules that register transforms"


UNREGISTERED = (TimmBackbone, TimmPreLogits, SharedBackbone)
"""Backbones that other entries of the registry, or other classes, make."""


def public_classes():
    """Classes by name: those of `vk.__all__`, and those that are registered."""
    exported = [getattr(vk, name) for name in vk.__all__]
    registered = [
        registry.get(name)
        for registry in (models, backbones, formats, transforms, detection_metrics, tasks, balancers)
        for name in registry
    ]
    entries = [entry for entry in [*exported, *registered, *UNREGISTERED] if inspect.isclass(entry)]
    own = [entry for entry in entries if entry.__module__.startswith("visionkit.")]
    return {entry.__name__: entry for entry in own}


CLASSES = public_classes()
FUNCTIONS = {name: entry for name in vk.__all__ if inspect.isfunction(entry := getattr(vk, name))}


def examples(entry):
    """The doctests of a class's or function's own docstring."""
    module = sys.modules[entry.__module__]
    finder = doctest.DocTestFinder(recurse=False)
    found = finder.find(entry, entry.__qualname__, module=module, globs={}) if entry.__doc__ else []
    return [test for test in found if test.examples]


def test_no_two_public_classes_have_one_name():
    assert len(CLASSES) == len(set(CLASSES.values()))


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_the_example_of_a_class_runs(name, tmp_path, monkeypatch):
    tests = examples(CLASSES[name])
    assert tests, f"the docstring of {name} has no example"
    assert "Example:" in CLASSES[name].__doc__
    run(tests, tmp_path, monkeypatch)


@pytest.mark.parametrize("name", sorted(name for name, entry in FUNCTIONS.items() if examples(entry)))
def test_the_example_of_a_function_runs(name, tmp_path, monkeypatch):
    run(examples(FUNCTIONS[name]), tmp_path, monkeypatch)


def run(tests, folder, monkeypatch):
    """Run doctests in an empty folder; the output may use `...`."""
    monkeypatch.chdir(folder)
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    lines: list[str] = []
    for test in tests:
        if "import pyarrow" in test.docstring:
            pytest.importorskip("pyarrow")
        if 'extra "stream"' in test.docstring:
            pytest.importorskip("litdata")
        torch.manual_seed(0)
        result = doctest.DocTestRunner(optionflags=flags, verbose=False).run(test, out=lines.append)
        assert result.failed == 0, "".join(lines)
