import json
import re
import tracemalloc

import numpy as np
import pytest

from visionkit.data.datamodule import VisionData
from visionkit.data.proposals import proposal_source as source_module
from visionkit.data.proposals.proposal_source import ProposalOptions, create_proposal_source
from visionkit.errors import ConfigError, DataError

IMAGE = np.zeros((30, 40, 3), np.uint8)
BOXES = [[0.0, 0.0, 10.0, 20.0], [5.0, 5.0, 40.0, 30.0], [1.0, 1.0, 2.0, 9.0]]


def written(folder, name, content):
    path = folder / name
    if path.suffix == ".npz":
        np.savez(path, **{key: np.array(value) for key, value in content.items()})
    else:
        path.write_text(json.dumps(content))
    return create_proposal_source(ProposalOptions(file=str(path)))


@pytest.mark.parametrize("name", ["found.npz", "found.json"])
def test_files_are_read_by_id_in_any_order(tmp_path, name):
    source = written(tmp_path, name, {"b": BOXES[:1], "7": BOXES, "empty": []})
    np.testing.assert_array_equal(source(IMAGE, 7), np.array(BOXES, np.float32))
    assert source(IMAGE, "b").dtype == np.float32
    assert source(IMAGE, "empty").shape == (0, 4)


@pytest.mark.parametrize("name", ["found.npz", "found.json"])
def test_boxes_take_sixteen_bytes_of_memory(tmp_path, name):
    """Python lists need fifteen times the memory, and every loader process gets its own copy."""
    boxes = np.random.default_rng(0).uniform(0, 7, (500, 4)).cumsum(axis=1).tolist()
    tracemalloc.start()
    source = written(tmp_path, name, {str(number): boxes for number in range(40)})
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 1.2 * 40 * 500 * 16
    assert len(source(IMAGE, 39)) > 400


def test_only_the_best_are_taken(tmp_path):
    path = tmp_path / "found.json"
    path.write_text(json.dumps({"1": BOXES}))
    assert create_proposal_source(ProposalOptions(file=str(path), count=2))(IMAGE, 1).tolist() == BOXES[:2]


def test_a_file_for_other_images_is_refused_by_their_ids(tmp_path):
    source = written(tmp_path, "found.json", {"000001": BOXES, "000002": BOXES})
    with pytest.raises(DataError, match=r"no proposals for the image 'dog'\nit has those of 000001, 000002;"):
        source(IMAGE, "dog")


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ([[0, 0, 25, 35]], "order of its coordinates x1 y1 x2 y2"),  # y before x in a lying image
        ([[10, 10, 5, 5]], "end before they begin"),
        ([[1, 2, 3]], r"no numbers \[P, 4\]"),
        ([[0, 0, "a", 4]], r"no numbers \[P, 4\]"),
        ([[0, 0, None, 4]], r"no numbers \[P, 4\]"),
    ],
)
def test_boxes_that_cannot_be_right_are_refused_with_the_image(tmp_path, boxes, message):
    source = written(tmp_path, "found.json", {"1": boxes})
    with pytest.raises(DataError, match=message) as refused:
        source(IMAGE, 1)
    assert "found.json" in str(refused.value)
    assert "image 1" in str(refused.value)


def test_rounding_is_clipped_and_what_encloses_nothing_left_out(tmp_path):
    source = written(tmp_path, "found.json", {"1": [[-1, 0, 41, 30], [3, 3, 3, 9]]})
    assert source(IMAGE, 1).tolist() == [[0, 0, 40, 30]]


@pytest.mark.parametrize("content", ["[[0, 0, 1, 1]]", "{", ""])
def test_files_without_ids_or_sense_are_refused(tmp_path, content):
    (tmp_path / "found.json").write_text(content)
    with pytest.raises(DataError, match=r"found\.json"):
        create_proposal_source(ProposalOptions(file=str(tmp_path / "found.json")))


def test_a_missing_or_broken_npz_is_refused(tmp_path):
    (tmp_path / "found.npz").write_bytes(b"PK nonsense")
    for name in ("found.npz", "nowhere.npz"):
        with pytest.raises(DataError, match=name):
            create_proposal_source(ProposalOptions(file=str(tmp_path / name)))


@pytest.fixture
def searches(monkeypatch):
    """The search_modes that were searched with; the search itself is replaced."""
    asked = []

    def search(image, mode):
        asked.append(mode)
        return np.array(BOXES, np.float32)

    monkeypatch.setattr(source_module, "selective_search", search)
    return asked


def test_a_image_is_searched_once_for_each_mode(tmp_path, searches):
    fast, single = (
        create_proposal_source(ProposalOptions(mode=mode, folder=str(tmp_path))) for mode in ("fast", "single")
    )
    for _ in range(2):
        np.testing.assert_array_equal(fast(IMAGE, "a"), np.array(BOXES, np.float32))
        np.testing.assert_array_equal(fast(IMAGE.copy(), "another name of the same image"), BOXES)
    single(IMAGE, "a")
    fast(IMAGE + 1, "a")
    fast(IMAGE.reshape(40, 30, 3), "a")
    assert searches == ["fast", "single", "fast", "fast"]


def test_what_was_cut_short_on_disk_is_searched_anew(tmp_path, searches):
    source = create_proposal_source(ProposalOptions(folder=str(tmp_path)))
    source(IMAGE, "a")
    (kept,) = tmp_path.rglob("*.npy")
    kept.write_bytes(kept.read_bytes()[:90])
    np.testing.assert_array_equal(source(IMAGE, "a"), np.array(BOXES, np.float32))
    assert len(searches) == 2
    assert not list(tmp_path.rglob("*.tmp"))


def test_the_number_wanted_does_not_change_what_is_kept(tmp_path, searches):
    assert len(create_proposal_source(ProposalOptions(folder=str(tmp_path), count=1))(IMAGE, "a")) == 1
    assert len(create_proposal_source(ProposalOptions(folder=str(tmp_path)))(IMAGE, "a")) == 3
    assert len(searches) == 1


def test_impossible_options_are_refused():
    with pytest.raises(ConfigError, match="unknown mode of selective search 'fats'; did you mean fast"):
        create_proposal_source(ProposalOptions(mode="fats"))
    with pytest.raises(ConfigError, match="count=0"):
        create_proposal_source(ProposalOptions(count=0))


def shapes_with(tmp_path, proposals):
    """Three images of shapes, 40 x 60, in each split, and the proposals of 0, 1, ... in a file."""
    path = tmp_path / "found.json"
    path.write_text(json.dumps(dict(enumerate(proposals))))
    splits = {split: {"split": split, "count": 3, "size": [40, 60]} for split in ("train", "val", "test")}
    options = ProposalOptions(file=str(path))
    return VisionData(format="shapes", splits=splits, batch_size=1, num_workers=0, proposals=options)


WHOLE = [[0, 0, 60, 40]]
WRONG = {
    "images that are missing": ([WHOLE], r"for 2 of 3 images of {split}: 1, 2\nit has those of 0;.*\n.*empty list"),
    "images of another shape": (
        [WHOLE, [], [[0, 0, 40, 60]]],
        r"outside of the image 2, 60 pixels wide.*\n.*these",
    ),
}


@pytest.mark.parametrize(("proposals", "message"), WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_a_file_is_held_against_all_images_before_the_first_is_read(tmp_path, proposals, message, split):
    data = shapes_with(tmp_path, proposals)
    with pytest.raises(DataError, match=r"found\.json") as refused:
        getattr(data, f"{split}_dataloader")()
    assert re.search(message.format(split=split), str(refused.value))


def test_training_is_not_begun_with_a_file_that_validation_would_refuse(tmp_path):
    data = shapes_with(tmp_path, [WHOLE] * 3)
    data.splits.options["val"]["count"] = 4
    with pytest.raises(DataError, match="1 of 4 images of val: 3\n"):
        data.train_dataloader()


def test_a_file_of_all_images_in_any_order_is_taken(tmp_path):
    data = shapes_with(tmp_path, [WHOLE, [], WHOLE, WHOLE])
    assert [len(batch.targets[0]["proposals"]) for batch in data.val_dataloader()] == [1, 0, 1]
