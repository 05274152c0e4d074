import pytest

from tests.helpers.html_page import parse
from visionkit.cli.main import main

SPLIT = "{split: %s, count: 4, size: 48}"
WORDS = ["data.format=shapes", f"data.splits={{train: {SPLIT % 'train'}, val: {SPLIT % 'val'}}}", "data.num_workers=0"]


def splits_of(path):
    return [figure.attributes["data-split"] for figure in parse(path.read_text()).find("figure", class_="card")]


def test_the_page_is_written_and_named(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["data", "show", *WORDS]) == 0
    assert capsys.readouterr().out == "data.html (0.1 MB): open it in a browser\n"
    assert splits_of(tmp_path / "data.html") == ["train"] * 4 + ["val"] * 4


def test_its_options(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flip = "data.augment=[{name: HorizontalFlip, p: 0.5}]"
    options = ["--output", "new/a.html", "--split", "val", "--count", "2", "--augment"]
    assert main(["data", "show", *WORDS, flip, *options]) == 0
    assert splits_of(tmp_path / "new" / "a.html") == ["val"] * 2 + ["augmented"] * 10


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--augment"], "there is no data.augment to show"),
        (["--count", "0"], "count"),
        (["--split", "tset"], "no split 'tset'"),
        (["--output", "mine.txt"], "mine.txt was not written by visionkit data show"),
    ],
)
def test_what_cannot_be_is_refused(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.txt").write_text("mine")
    assert main(["data", "show", *WORDS, *words]) == 2
    assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_its_options_go_with_no_other_action(capsys):
    for words in (["--augment"], ["--output", "a.html"]):
        with pytest.raises(SystemExit):
            main(["data", "check", *WORDS, *words])
        assert f"{words[0]} goes with `visionkit data show`" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["data", "check", *WORDS, "--count", "3"])
    assert "--count goes with `visionkit data anchors` and `visionkit data show`" in capsys.readouterr().err
