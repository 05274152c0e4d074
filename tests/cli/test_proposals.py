import pytest

pytest.importorskip("skimage")

from visionkit.cli.main import main

SPLIT = "{split: %s, count: 2, size: 64, empty_share: 0.0}"
WORDS = [
    "data.format=shapes",
    f"data.splits={{train: {SPLIT % 'train'}, val: {SPLIT % 'val'}}}",
    "data.num_workers=0",
]


def test_proposals_are_kept_and_compared_with_the_objects(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["data", "proposals", *WORDS]) == 0
    said = capsys.readouterr().out
    assert "train" in said
    assert "val" in said
    assert "2 images" in said
    assert "first    10: 0." in said
    assert len(list((tmp_path / "runs" / "proposals").rglob("*.npy"))) == 4


def test_mode_and_split_can_be_chosen(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["data", "proposals", *WORDS, "--mode", "single", "--split", "val"]) == 0
    assert "train" not in capsys.readouterr().out
    assert len(list((tmp_path / "runs" / "proposals").rglob("*.npy"))) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--mode", "fats"], "did you mean fast"),
        (["--split", "tset"], "no split 'tset'"),
        (["data.proposals.cuont=3"], "cuont"),
        (["data.proposals.file=nowhere.npz"], "nowhere.npz"),
    ],
)
def test_what_does_not_exist_is_refused(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    assert main(["data", "proposals", *WORDS, *words]) == 2
    assert message in capsys.readouterr().err


def test_its_options_go_with_no_other_action(capsys):
    with pytest.raises(SystemExit):
        main(["data", "check", *WORDS, "--mode", "fast"])
    assert "--mode goes with" in capsys.readouterr().err
