"""Images of one group stay in one split."""

from pathlib import PurePath

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from visionkit.data.datamodule import VisionData
from visionkit.data.holdout import HoldoutOptions, stratified_holdout
from visionkit.data.holdout_groups import find_groups, grouped_holdout
from visionkit.errors import ConfigError

NO_LABELS = np.full(1000, -1)
HASH = "rf.31facecf28467c64106a888177c293c4"


def groups(names, labels=None, rule="auto"):
    paths = [PurePath(name) for name in names]
    found = find_groups(paths, NO_LABELS[: len(names)] if labels is None else np.array(labels), rule)
    return None if found is None else found.indices.tolist()


def test_frames_of_videos():
    assert groups([f"v{video}/{frame:04}.jpg" for video in range(4) for frame in range(2)]) == [0, 0, 1, 1, 2, 2, 3, 3]
    assert groups([f"0{video}TP_{frame}.png" for frame in range(2) for video in range(4)]) == [0, 1, 2, 3] * 2


def test_copies_of_roboflow():
    names = [f"pic-{index}_jpg.rf.{copy}{HASH[3:]}.jpg" for index in "abcd" for copy in "12"]
    assert groups(names) == [0, 0, 1, 1, 2, 2, 3, 3]


def test_numbers_of_one_camera_are_no_groups():
    assert groups([f"IMG_{index:04}.jpg" for index in range(50)]) is None


def test_folders_are_groups_of_images_without_class_only():
    names = [f"{folder}/{name}.jpg" for folder in "abcd" for name in ("x", "y", "z")]
    assert groups(names) == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert groups(names, labels=[0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]) is None


def test_names_of_classes_are_no_groups():
    names = [f"{name}_{index}.jpg" for name in ("ant", "bee", "cat", "dog") for index in range(5)]
    assert groups(names, labels=np.repeat(range(4), 5)) is None
    assert groups(names) == np.repeat(range(4), 5).tolist()


def test_an_expression_names_the_groups():
    names = [f"p{patient}-{view}.png" for patient in range(3) for view in ("left", "right")] + ["other.png"]
    assert groups(names, rule=r"p(\d+)-") == [0, 0, 1, 1, 2, 2, 3]
    assert groups(names, rule=r"left|right") == [0, 1, 0, 1, 0, 1, 2]
    assert groups(names, rule="none") is None


@pytest.mark.parametrize(("rule", "said"), [("(", "is not a regular expression"), ("zzz", "matches no path, such as")])
def test_wrong_expressions_are_refused(rule, said):
    with pytest.raises(ConfigError, match=said):
        groups(["a.jpg"], rule=rule)


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 12)), min_size=30, max_size=80),
    st.floats(0.05, 0.9),
    st.integers(0, 99),
)
def test_parts_share_no_group_and_are_not_empty(images, fraction, seed):
    labels, names = (np.array(column) for column in zip(*images, strict=True))
    _, indices = np.unique(names, return_inverse=True)
    if indices.max() == 0:
        return
    kept, held_out = grouped_holdout(labels, indices, fraction, seed)
    assert sorted([*kept, *held_out]) == list(range(len(images)))
    assert len(kept)
    assert len(held_out)
    assert not set(indices[kept]) & set(indices[held_out])


def test_the_share_of_each_class_is_near_the_fraction():
    labels, indices = np.tile([0, 1, 1, 2], 100), np.repeat(np.arange(50), 8)
    _, held_out = grouped_holdout(labels, indices, 0.2, seed=0)
    assert np.bincount(labels[held_out]).tolist() == [20, 40, 20]
    first, again = (grouped_holdout(labels, indices, 0.2, seed=seed)[1].tolist() for seed in (1, 1))
    assert first == again != held_out.tolist()


def test_one_group_cannot_be_split():
    with pytest.raises(ConfigError, match="all 3 images are of one group"):
        grouped_holdout(np.zeros(3, int), np.zeros(3, int), 0.2, 0)


def test_the_holdout_of_a_card_keeps_videos_together(tmp_path, caplog):
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for video in range(5):
            for frame in range(3):
                Image.new("RGB", (8, 8)).save(tmp_path / name / f"{video}_{frame}.png")

    def held_out(**options):
        data = VisionData("folder", str(tmp_path), {"train": {}}, holdout=HoldoutOptions(**options))
        dataset = data.dataset("val")
        return [dataset.image_id(index) for index in range(len(dataset))]

    with caplog.at_level("INFO", "visionkit"):
        grouped = held_out()
    assert "val: 6 of 30 images held out by 10 groups of file names that differ in their last number" in caplog.text
    assert len({name.rpartition("_")[0] for name in grouped}) == 2
    _, expected = stratified_holdout(np.repeat([0, 1], 15), 0.2, 0)
    assert len(expected) == len(held_out(groups="none")) == 6
    assert len({name.rpartition("_")[0] for name in held_out(groups="none")}) > 2
