import pytest
import torch
import yaml

from visionkit.cli.main import main

SPLIT = "{split: %s, count: 12, size: 64, empty_share: 0.2}"
WORDS = [
    "data.format=shapes",
    f"data.splits={{train: {SPLIT % 'train'}, val: {SPLIT % 'val'}}}",
    "data.num_workers=0",
]


def test_the_anchors_of_a_card_are_printed_as_a_recipe_line(capsys):
    assert main(["data", "anchors", *WORDS, "--count", "3", "--size", "128"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0].strip() for line in said[1:4]] == ["1 anchors", "2 anchors", "3 anchors"]
    anchors = yaml.safe_load(said[-1])["for"]["yolov2"]["model"]["anchor_shapes"]
    assert len(anchors) == 3
    assert all(0 < side <= 128 for pair in anchors for side in pair)
    # twice the size, twice the anchors
    assert main(["data", "anchors", *WORDS, "--count", "3", "--size", "64"]) == 0
    halves = yaml.safe_load(capsys.readouterr().out.splitlines()[-1])["for"]["yolov2"]["model"]["anchor_shapes"]
    torch.testing.assert_close(torch.tensor(anchors), 2 * torch.tensor(halves), atol=0.11, rtol=0)


@pytest.mark.parametrize("words", [["--count", "0"], ["--size", "0"], ["--count", "9999"]])
def test_what_cannot_be_is_refused(words, capsys):
    assert main(["data", "anchors", *WORDS, *words]) == 2
    said = capsys.readouterr().err
    assert "too few for" in said or "at least 1" in said


def test_its_options_go_with_no_other_action(capsys):
    with pytest.raises(SystemExit):
        main(["data", "check", *WORDS, "--count", "3"])
    assert "--count goes with" in capsys.readouterr().err
