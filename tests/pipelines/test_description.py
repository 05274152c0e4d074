"""Checkpoints whose descriptions or tensors are broken on purpose."""

import copy
import zipfile
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.small_classifier import small_classification
from visionkit.backbones.load_backbone import load_file
from visionkit.errors import CheckpointError
from visionkit.pipelines.checkpoint import load_pipeline, pipeline_from, read_checkpoint
from visionkit.pipelines.description import MAX_VALUES, check_description, explain_description, has_type
from visionkit.tasks import Task

NAMES = ["cat", "dog"]
WEIGHT = "pipeline.network.head.fc.weight"


@pytest.fixture(scope="module")
def content():
    """The content of a whole checkpoint, apart from the state of its training."""
    task = small_classification(NAMES)
    return {"visionkit": task.description(), "state_dict": task.state_dict()}


def changed(content, path, value):
    """Return a copy with another value at a path such as "model.backbone.name"; `...` removes it."""
    described = {**content, "visionkit": copy.deepcopy(content["visionkit"])}
    *parents, last = path.split(".")
    holder = described["visionkit"]
    for parent in parents:
        holder = holder[parent]
    if value is ...:
        del holder[last]
    else:
        holder[last] = value
    return described


def repeated():
    """A small structure that stands for 10 ** 12 values, as a pickle can hold it."""
    values = [0] * 10
    for _ in range(11):
        values = [values] * 10
    return values


def endless():
    values = []
    values.append(values)
    return values


BROKEN = [
    ("task", ..., "task is None, and must be str"),
    ("task", 3, "task is 3"),
    ("task", "telepathy", "unknown task 'telepathy'"),
    ("model", ["a"], r"model is \['a'\]"),
    ("model.name", 3, "model.name is 3"),
    ("model.name", "x", "cannot be built here"),
    ("model.num_classes", "two", "model.num_classes is 'two'"),
    ("model.multi_label", None, "model.multi_label is None, and must be bool"),
    ("model.dropout", "much", "model.dropout is 'much'"),
    ("model.num_classes", 3, "has 3 classes, and 2 names"),
    ("model.backbone", "resnet18", "model.backbone is 'resnet18'"),
    ("model.backbone.name", 7, "model.backbone has no name"),
    ("model.backbone.out_stages", 5, "cannot be built here"),
    ("model.backbone.evil", 5, "cannot be built here"),
    ("class_names", "cat", "class_names is 'cat'"),
    ("class_names", ["cat", 3], r"class_names is \['cat', 3\]"),
    ("category_ids", ["a", "b"], "category_ids is"),
    ("category_ids", [1], "category_ids has 1 entries for 2 classes"),
    ("class_colors", [[1, 2, 3]], "class_colors has 1 entries"),
    ("class_colors", [[1, 2], [3, 4]], "is no RGB color"),
    ("class_colors", [[1, 2, 300], [3, 4, 5]], "is no RGB color"),
    ("class_thresholds", 0.5, r"class_thresholds is 0.5, and must be list\[float \| None\] \| None"),
    ("class_thresholds", ["high", None], "class_thresholds is"),
    ("class_thresholds", [0.5, True], "class_thresholds is"),
    ("class_thresholds", [0.5], "class_thresholds has 1 entries for 2 classes"),
    ("class_thresholds", [], "class_thresholds has 0 entries"),
    ("bit_depth", "12", r"bit_depth is '12', and must be int \| None"),
    ("bit_depth", True, "bit_depth is True"),
    ("bit_depth", 8, r"bit_depth is 8, and must be within 9\.\.16"),
    ("bit_depth", 10**9, "bit_depth is 1000000000"),
    ("plugins", 3, "plugins is 3"),
    ("versions", [], "versions is"),
    ("metrics", {"a": "b"}, "metrics is"),
    ("recipe", 3, "recipe is 3"),
    ("recipe", ..., "recipe is None"),
    ("recipe.a", repeated, "more than 1,000,000 values"),
    ("recipe.a", endless, "more than 1,000,000 values"),
    ("recipe", {"a": torch.zeros(1)}, "has a Tensor, which is no plain value"),
    ("preprocess", 3, "preprocess is 3"),
    ("preprocess.crop", "x", "preprocess.crop is 'x', and must be int"),
    ("preprocess.crop", True, "preprocess.crop is True"),
    ("preprocess.crop", -3, "crop=-3"),
    ("preprocess.evil", 3, "the option 'evil', which this version does not have"),
    ("preprocess.std", [0.1, 0.0, 0.1], r"preprocess.std is .* positive"),
    ("preprocess.std", [0.1, float("nan"), 0.1], "preprocess.std is"),
    ("preprocess.mean", [0.1], "preprocess.mean is"),
    ("inference", [], "inference is"),
    ("inference.tta_views", "wild", "wild"),
    ("inference.tta_short_sides", [1.5], "inference.tta_short_sides"),
]


@pytest.mark.parametrize(("path", "value", "message"), BROKEN)
def test_broken_descriptions_are_errors_that_name_the_value(path, value, message, content, tmp_path):
    file = tmp_path / "a.ckpt"
    torch.save(changed(content, path, value() if callable(value) else value), file)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_pipeline(file)
    assert str(file) in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 5


@pytest.mark.parametrize("thresholds", [None, [0.5, None], (0.5, 1)])
def test_a_class_may_have_no_threshold(thresholds, content):
    check_description(changed(content, "class_thresholds", thresholds)["visionkit"])


@pytest.mark.parametrize("path", ["optimizer.lr", "loss.label_smoothing", "evaluation.metric", "mixing"])
def test_broken_options_of_the_task_are_errors(path, content, tmp_path):
    torch.save(changed(content, path, {"a": 1}), tmp_path / "a.ckpt")
    with pytest.raises(CheckpointError, match=r"a\.ckpt.*" + path.partition(".")[0]):
        Task.load_from_checkpoint(tmp_path / "a.ckpt")


def paths(description, start=""):
    for key, value in description.items():
        yield start + key
        if isinstance(value, dict):
            yield from paths(value, f"{start}{key}.")


ANY = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 300)
    | st.floats()
    | st.sampled_from(["", "cat", "auto", "/etc/passwd"]),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.sampled_from(["name", "a"]), inside, max_size=2),
    max_leaves=5,
)


@given(data=st.data())
@settings(max_examples=60)
def test_any_other_value_is_an_error_of_ours_or_harmless(data, content):
    places = [path for path in paths(content["visionkit"]) if not path.startswith(("recipe.", "versions."))]
    checkpoint = changed(content, data.draw(st.sampled_from(places)), data.draw(ANY))
    description = checkpoint["visionkit"]
    try:
        with explain_description({}, "a.ckpt"):
            check_description(description)
        pipeline = pipeline_from(checkpoint, "a.ckpt")
        with explain_description(description, "a.ckpt"):
            Task.from_description.__func__(type(small_classification(NAMES)), description, pipeline)
    except CheckpointError as error:
        text = str(error)
        assert "a.ckpt" in text  # most examples do not raise


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_are_refused_by_name(value, content, tmp_path):
    state = {**content["state_dict"], WEIGHT: content["state_dict"][WEIGHT].clone()}
    state[WEIGHT][0, 0] = value
    torch.save({**content, "state_dict": state}, tmp_path / "a.ckpt")
    with pytest.raises(CheckpointError, match=rf"1 of 128 values of {WEIGHT} are NaN or infinite"):
        read_checkpoint(tmp_path / "a.ckpt")


def test_large_finite_weights_are_not_refused(content, tmp_path):
    state = {
        **content["state_dict"],
        "pipeline.large": torch.full((4,), 3e38),
        "pipeline.half": torch.full((9,), 6e4).half(),
    }
    torch.save({**content, "state_dict": state}, tmp_path / "a.ckpt")
    read_checkpoint(tmp_path / "a.ckpt")


TENSORS = {
    "expanded": torch.zeros(1).expand(10**6, 10**6),
    "meta": torch.zeros(3, device="meta"),
    "sparse": torch.zeros(3).to_sparse(),
    "text": "abc",
}


@pytest.mark.parametrize("kind", TENSORS)
def test_tensors_whose_values_are_not_in_the_file_are_refused(kind, content, tmp_path):
    """A tensor of 10 ** 12 elements can be saved in a few bytes."""
    torch.save({**content, "state_dict": {**content["state_dict"], WEIGHT: TENSORS[kind]}}, tmp_path / "a.ckpt")
    with pytest.raises(CheckpointError, match=r"not all in the file|no named tensor|cannot be read"):
        read_checkpoint(tmp_path / "a.ckpt")


@pytest.mark.parametrize("state", [3, {3: torch.zeros(1)}, [torch.zeros(1)]])
def test_a_state_dict_of_another_kind_is_refused(state, content, tmp_path):
    torch.save({**content, "state_dict": state}, tmp_path / "a.ckpt")
    with pytest.raises(CheckpointError, match="is broken: its state_dict"):
        read_checkpoint(tmp_path / "a.ckpt")


def rewritten(path, change):
    """Write the records of a checkpoint again, as `change` returns them."""
    with zipfile.ZipFile(path) as archive:
        records = [(info, archive.read(info)) for info in archive.infolist()]
    with zipfile.ZipFile(path, "w") as archive:
        for info, data in records:
            archive.writestr(info.filename, *change(data))
    return path


def test_a_compressed_record_is_refused_before_it_is_read(content, tmp_path):
    path = tmp_path / "a.ckpt"
    torch.save({**content, "other": torch.zeros(10_000_000)}, path)
    rewritten(path, lambda data: (data, zipfile.ZIP_DEFLATED))
    assert path.stat().st_size < 10_000_000
    for read in (read_checkpoint, lambda path: load_file(small_classification(NAMES).backbone, path)):
        with pytest.raises(CheckpointError, match=r"has compressed records, which torch.save does not write"):
            read(path)


def test_overlapping_records_are_refused(content, tmp_path):
    """Several entries of the directory may point to the same bytes."""
    path = tmp_path / "a.ckpt"
    torch.save(content, path)
    with zipfile.ZipFile(path, "a") as archive:
        largest = max(archive.infolist(), key=lambda info: info.file_size)
        for number in range(50):
            entry = copy.copy(largest)
            entry.filename = f"copy{number}"
            archive.filelist.append(entry)
        archive._didModify = True
    with pytest.raises(CheckpointError, match="records are larger than the file"):
        read_checkpoint(path)


def test_the_file_may_be_overwritten_after_loading(content, tmp_path):
    path = tmp_path / "a.ckpt"
    torch.save(content, path)
    pipeline = load_pipeline(path)
    with path.open("r+b") as file:
        file.truncate(0)
    state = pipeline.state_dict()
    for name, value in content["state_dict"].items():
        assert torch.equal(state[name.removeprefix("pipeline.")], value)


def test_types_of_values():
    assert has_type(1, float)
    assert not has_type(True, int)
    assert not has_type("1", int)
    assert has_type((1, 2), list[int])
    assert has_type(None, int | None)
    assert has_type([1, "a"], tuple[int, str])
    assert has_type([1, 2, 3], tuple[int, ...])
    assert has_type("any", Path)
    assert not has_type({1: 2}, dict[str, int])
    assert MAX_VALUES > 22_000 * 10, "ImageNet-21k has its names in the description and in the recipe"
