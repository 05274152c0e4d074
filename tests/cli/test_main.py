"""The command line: fast help, short errors, and one round of all commands."""

import json
import subprocess
import sys

import numpy as np
import pytest
import yaml
from PIL import Image

from tests.helpers.overrides import TINY
from tests.helpers.real_data import REPOSITORY
from tests.helpers.voc_files import xml
from visionkit.cli.commands.list import KINDS
from visionkit.cli.data_tools import TOOLS
from visionkit.cli.main import main
from visionkit.cli.run_name import run_name
from visionkit.data.datasets.shapes import Shapes
from visionkit.engine.run_folder import RunName
from visionkit.errors import ConfigError

RECIPE = """
task: detection
model:
  name: faster_rcnn
  backbone: {name: resnet18, weights: none, out_stages: [s4, s8, s16]}
  fpn_channels: 16
  head_channels: 16
  anchors: {sizes: [[32], [64], [128], [256]]}
  roi: {batch_size_per_image: 16}
  nms: {score_threshold: 0.0}
optimizer: {lr: 0.01, base_batch_size: 2}
schedule: {name: constant}
inference: {score_threshold: 0.0}
data: {format: shapes, augment: [{name: HorizontalFlip, p: 0.5}]}
"""


EACH = """
import contextlib, io, json, sys
from visionkit.cli.main import main
from visionkit.cli.run_name import run_name
answers = []
for words in json.load(sys.stdin):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(words)
    answers.append([status, out.getvalue(), err.getvalue(), "torch" in sys.modules])
print(json.dumps(answers))
"""


def run_each(commands):
    """Return status, output, errors and whether torch is imported after each command, all in one new process."""
    done = subprocess.run(
        [sys.executable, "-c", EACH], input=json.dumps(commands), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(RECIPE)
    return path


def test_listing_needs_no_torch():
    for status, out, err, torch_was_imported in run_each([["list", kind] for kind in KINDS]):
        assert (status, err, torch_was_imported) == (0, "", False)
        assert len(out.splitlines()) > 1


def test_listing_shows_what_the_registries_hold(capsys):
    from visionkit.backbones import backbones
    from visionkit.data.datasets.base import formats
    from visionkit.models import models

    main(["list"])
    words = capsys.readouterr().out.split()
    assert {*backbones, *models, *formats} <= set(words)


def test_help_needs_no_torch():
    code = "import sys\nfrom visionkit.cli.main import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    code += "assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "examples:" in done.stdout


MISTAKES = {
    "model.bakbone=x": "unknown key model.bakbone; did you mean backbone",
    "model.backbone.name=resnet5": "unknown name 'resnet5'; did you mean resnet50",
    "model.name=faster_rcn": "unknown name 'faster_rcn'; did you mean faster_rcnn",
    "task=detektion": "unknown name 'detektion'; did you mean detection",
    "optimizer.lrate=1": "unknown key optimizer.lrate",
    "data.holdout.fracton=1": "unknown key data.holdout.fracton; did you mean fraction",
    "data.proposals.mod=x": "unknown key data.proposals.mod; did you mean mode",
    "data.augment=[{name: HorizontalFlip, q: 1}]": "unknown key data.augment.0.q; known: name, p",
    "epochs=100": "here it is trainer.max_epochs",
    "trainer.max_epoch=1": "unknown key trainer.max_epoch; did you mean max_epochs",
    "data.splits.train.sizes=3": "unknown key data.splits.train.sizes; did you mean size",
    "shedule.name=cosine": "unknown key shedule; did you mean schedule",
    "optimizer=3": "optimizer must hold keys",
    "data=3": "data must hold",
    "model=": "model.name is missing in the recipe",
    "data.splits=x": "data.splits must hold keys, not 'x'",
    "model.backbone.drop_path_rate=1": "unknown key model.backbone.drop_path_rate",
    "data.augment.7.p=1": "element 7 is not in a list",
    "seed=abc": "seed is 'abc', and must be a whole number",
    "seed=-1": "seed is -1",
    "trainer=null": "trainer must hold keys",
    "optimizer.lr=.nan": "optimizer.lr=nan must be finite",
    "data.augment=[{name: HorizontalFlip, p: .inf}]": "data.augment.0.p=inf must be finite",
    "gone.yaml": "there is no recipe or data card gone.yaml",
}


@pytest.fixture(scope="module")
def answers_to_mistakes(tmp_path_factory):
    path = tmp_path_factory.mktemp("mistakes") / "mine.yaml"
    path.write_text(RECIPE)
    answers = run_each([["fit", str(path), word] for word in MISTAKES])
    return dict(zip(MISTAKES, answers, strict=True))


@pytest.mark.parametrize("word", MISTAKES)
def test_mistakes_are_answered_in_five_lines_without_torch(word, answers_to_mistakes):
    status, _, err, torch_was_imported = answers_to_mistakes[word]
    assert status == 2
    assert not torch_was_imported
    assert len(err.strip().splitlines()) <= 5
    assert MISTAKES[word] in err


def test_the_place_of_a_mistake_is_named(tmp_path, capsys):
    path = tmp_path / "mine.yaml"
    path.write_text(RECIPE.replace("fpn_channels", "fpn_chanels"))
    assert main(["fit", str(path)]) == 2
    assert f"{path}:6" in capsys.readouterr().err


WRONG_VALUES = {
    "optimizer.lr=fast": "lr",
    "model.variant=round": "variant",
    "trainer.max_epochs=many": "max_epochs",
    "data.batch_size=two": "batch_size",
    "schedule.name=cosinus": "name",
    "model.backbone.batch_norm=trainde": "batch_norm",
}
REFUSED_VALUES = {
    "data.splits.train.count=many": "data.splits.train.count is 'many', and must be: int",
    "trainer.accelerator=banana": "accelerator",
    "data.batch_size=0": "batch_size",
    "data.num_workers=-1": "num_workers",
    "preprocess.short_side=0": "short_side",
    "data.splits.train=null": "data.splits.train=None must hold the options",
    "data.splits.foo={count: 3}": "data.splits.foo: unknown split",
    "data.splits.train.count=100000000000000": "count must be at most",
    "trainer.val_check_interval=0": "trainer.val_check_interval=0 must be above 0",
    "trainer.accumulate_grad_batches=0": "trainer.accumulate_grad_batches=0 must be at least 1",
    "trainer.gradient_clip_val=-0.5": "trainer.gradient_clip_val=-0.5 must be at least 0",
    "trainer.max_epochs=null": "trainer.max_epochs is missing",
    "optimizer.lr=-1": "optimizer.lr=-1.0 must be above 0\n  the command line",
    "model.nms.iou=2": "model.nms.iou=2.0 must be within 0..1\n  the command line",
    "model.roi.batch_size_per_image=0": "model.roi.batch_size_per_image=0 must be at least 1\n  the command line",
    "model.head_channels=-1": "model.head_channels=-1 must be at least 0\n  the command line",
    "preprocess.mean=[1]": "preprocess.mean=[1.0] must be three numbers",
    "ema={decay: 1}": "ema.decay=1.0 must be at least 0 and below 1",
    "early_stopping={patience: -1}": "early_stopping.patience=-1 must be at least 0",
    "unfreeze=[{epoch: -1, frozen_stages: 1}]": "unfreeze.0.epoch=-1 must be at least 0",
    "unfreeze=[{epoch: 0, frozen_stages: 99}]": "resnet18 has",
    "data.augment=[{name: RandomCrop, height: 5000, width: 5000}]": "RandomCrop cannot be applied to the image",
    "data.augment=[{name: HorizontalFlop}]": "did you mean HorizontalFlip",
}


@pytest.mark.parametrize("word", WRONG_VALUES)
def test_wrong_values_are_answered_in_five_lines(word, recipe, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["fit", str(recipe), *TINY, word]) == 2
    message = capsys.readouterr().err.strip()
    assert WRONG_VALUES[word] in message
    assert message.endswith("the command line")
    assert len(message.splitlines()) <= 5
    assert "Traceback" not in message


@pytest.mark.parametrize("word", REFUSED_VALUES)
def test_values_of_the_right_type_that_cannot_be_used_are_named(word, recipe, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["fit", str(recipe), *TINY, word]) == 2
    message = capsys.readouterr().err.strip()
    assert REFUSED_VALUES[word] in message
    assert len(message[message.index("visionkit: ") :].splitlines()) <= 5, "after the log of the run"


def test_the_place_of_a_wrong_value_is_named(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "mine.yaml"
    path.write_text(RECIPE.replace("fpn_channels: 16", "fpn_channels: many"))
    assert main(["fit", str(path), *TINY]) == 2
    assert capsys.readouterr().err == f"visionkit: model.fpn_channels is 'many', and must be: int\n  {path}:6\n"


OPTION_MISTAKES = {
    ("fit", "x.yaml", "--dry-rn"): "--dry-rn; did you mean --dry-run",
    ("fit", "x.yaml", "--dry"): "--dry; did you mean --dry-run",
    ("predict", "x.ckpt", "a.png", "--score-treshold", "1"): "--score-treshold; did you mean --score-threshold",
    ("fti",): "there is no command 'fti'; did you mean fit?",
    ("train", "x.yaml"): "there is no command 'train'; did you mean fit?",
    ("--debug", "eval", "x.ckpt"): "did you mean test, or evaluate for predictions of another program?",
    ("something",): "there is no command 'something'; known: compare, data, evaluate, extract, fit",
    ("list", "modles"): "invalid choice: 'modles'",
    ("list", "models", "more"): "unrecognized arguments: more",
    ("data", "chek", "shapes"): "invalid choice: 'chek'",
    ("fit", "x.yaml", "--minutes", "0"): "--minutes 0 must be above 0",
    ("fit", "x.yaml", "--minutes", "5", "trainer.max_epochs=3"): "both say how long to train",
    ("fit",): "required",
    ("--debug",): "required",
}


@pytest.mark.parametrize("words", OPTION_MISTAKES, ids=" ".join)
def test_mistyped_options_are_answered_in_five_lines(words, capsys):
    with pytest.raises(SystemExit) as end:
        main(words)
    message = capsys.readouterr().err
    assert end.value.code == 2
    assert OPTION_MISTAKES[words] in message
    assert len(message.splitlines()) <= 5


def test_without_words_the_commands_are_listed(capsys):
    assert main([]) == 0
    out = capsys.readouterr().out
    assert "predict" in out
    assert "examples:" in out


def test_a_mistyped_option_needs_no_torch():
    code = "import sys\nfrom visionkit.cli.main import main\ntry: main(['fit', 'x.yaml', '--dry-rn'])\n"
    code += "except SystemExit: pass\nassert not {'torch', 'lightning', 'jsonargparse', 'rich'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


WORK = {
    "train": "visionkit.cli.training.train",
    "score": "visionkit.cli.scoring.score",
    "predict": "visionkit.cli.prediction.predict",
}


@pytest.fixture
def calls(monkeypatch, tmp_path):
    """Replace the functions that run the commands, and record their arguments; in a folder with a.ckpt and images."""
    calls = []
    monkeypatch.chdir(tmp_path)
    for name in ("a.ckpt", "b.png", "c.png"):
        (tmp_path / name).write_bytes(b"PK\x03\x04")
    for name, function in WORK.items():
        monkeypatch.setattr(function, lambda *given, work=name, **named: calls.append((work, given, named)))
    monkeypatch.setitem(TOOLS, "check", lambda *given, **named: calls.append(("check", given, named)))
    return calls


@pytest.mark.parametrize(
    ("words", "resume", "lr"),
    [
        (["RECIPE"], None, 0.01),
        (["RECIPE", "--resume"], "last", 0.01),
        (["--resume", "RECIPE"], "last", 0.01),
        (["RECIPE", "--resume", "optimizer.lr=3"], "last", 3),
        (["RECIPE", "--resume", "a.ckpt", "optimizer.lr=3"], "a.ckpt", 3),
        (["optimizer.lr=3", "--resume=a.ckpt", "RECIPE"], "a.ckpt", 3),
    ],
)
def test_resume_takes_a_checkpoint_and_leaves_the_other_words(words, resume, lr, recipe, calls, monkeypatch):
    monkeypatch.setattr("visionkit.cli.commands.fit.latest_checkpoint", lambda name: None)  # there is no run
    main(["fit", *[str(recipe) if word == "RECIPE" else word for word in words]])
    (name, (composed,), named) = calls[0]
    expected = {
        "name": RunName("mine", []),
        "resume": resume,
        "fixed_length": False,
        "time_limit": None,
        "folder": None,
    }
    assert (name, named) == ("train", {"name": RunName("mine", []), **expected})
    assert composed["optimizer"]["lr"] == lr


@pytest.mark.parametrize(
    ("words", "folder"),
    [
        (["unet_resnet50"], "unet_resnet50"),
        (["unet_resnet50", "data/camvid.yaml", "seed=1"], "unet_resnet50-camvid"),
        (["data/camvid.yaml"], "camvid"),
        (["multi_shapes_resnet18", "data/bccd.yaml", "data/camvid.yaml"], "multi_shapes_resnet18-bccd-camvid"),
    ],
)
def test_the_run_folder_has_the_names_of_recipe_and_cards(words, folder, monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    assert run_name(words).folder == folder


def test_words_may_follow_options(calls):
    main(["predict", "a.ckpt", "b.png", "--output", "out", "c.png"])
    named = {"output": "out", "score_threshold": None, "format": None, "with_scores": False}
    assert calls == [("predict", ("a.ckpt", ["b.png", "c.png"]), named)]


@pytest.mark.parametrize("word", ["model.nms.iou=0.3", "preprocess.short_side=9", "optimizer.lr=1"])
def test_keys_that_are_part_of_the_checkpoint_are_refused(word, calls, capsys):
    assert main(["test", "a.ckpt", word]) == 2
    assert "cannot be changed here" in capsys.readouterr().err
    assert not calls
    main(["test", "a.ckpt", "data.batch_size=1", "trainer.devices=1"])
    assert len(calls) == 1


def test_a_mistake_in_a_card_is_found_before_its_data_are_read(tmp_path, capsys, calls):
    card = tmp_path / "card.yaml"
    card.write_text("data:\n  format: coco\n  rot: x\n")
    assert main(["data", "check", str(card)]) == 2
    assert f"unknown key data.rot; did you mean root?\n  {card}:3" in capsys.readouterr().err
    assert not calls


def leave_as_lightning_does():
    try:
        raise KeyboardInterrupt
    except KeyboardInterrupt:
        sys.exit(1)


def interrupt():
    raise KeyboardInterrupt


@pytest.mark.parametrize("end", [leave_as_lightning_does, interrupt])
def test_an_interrupted_run_ends_with_130(end, recipe, capsys, monkeypatch):
    monkeypatch.setattr(WORK["train"], lambda *given, **named: end())
    assert main(["fit", str(recipe)]) == 130
    assert capsys.readouterr().err == "visionkit: interrupted\n"


@pytest.mark.parametrize("words", [["--debug", "fit", "gone.yaml"], ["fit", "gone.yaml", "--debug"]])
def test_debug_lets_the_traceback_through(words):
    with pytest.raises(ConfigError, match=r"gone\.yaml"):
        main(words)


def test_freezing_random_weights_is_refused(recipe, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["fit", str(recipe), *TINY, "model.backbone.frozen_stages=1"]) == 2
    assert "randomly initialized" in capsys.readouterr().err


def test_a_run_folder_that_cannot_be_written_is_an_error(recipe, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").write_text("a file, not a folder")
    assert main(["fit", str(recipe), *TINY]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_dry_run_prints_the_composed_recipe(recipe, capsys):
    assert main(["fit", str(recipe), "--dry-run", "optimizer.lr=3"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["optimizer"]["lr"] == 3


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run folder of two steps."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "mine.yaml").write_text(RECIPE)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["fit", "mine.yaml", *TINY]) == 0
    return folder / "runs" / "mine" / "1"


def test_a_round_of_fit_test_and_predict(trained, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    checkpoint = str(trained / "best.ckpt")
    assert main(["test", checkpoint, "--output", "scores"]) == 0
    printed = capsys.readouterr()
    assert "AP50" in printed.out
    assert "detections with a score above 0, at most 100 per image" in " ".join((printed.out + printed.err).split())
    scores = json.loads((tmp_path / "scores" / "metrics.json").read_text())
    rows = json.loads((tmp_path / "scores" / "predictions.json").read_text())
    assert {"AP", "AP50", "F1"} <= set(scores["overall"])
    assert all("disc" in scores["per_class"][name] for name in ("AP", "F1", "threshold"))
    assert "confusion" in scores
    assert scores["thresholds_from"] == "val"
    shapes = Shapes(split="val", count=3, size=64)
    for index in range(3):
        Image.fromarray(shapes[index].image).save(tmp_path / f"{index}.png")
    images = [f"{index}.png" for index in range(3)]
    assert main(["predict", checkpoint, *images, "--output", "out"]) == 0
    found = json.loads((tmp_path / "out" / "predictions.json").read_text())
    for index, entry in enumerate(found):
        of_test = [row for row in rows if row["image_id"] == index]
        assert len(entry["detections"]) == len(of_test) > 0
        for ours, theirs in zip(entry["detections"], of_test, strict=True):
            assert shapes.class_names[theirs["category_id"] - 1] == ours["name"]
            x, y, width, height = theirs["bbox"]
            np.testing.assert_allclose(ours["box"], [x, y, x + width, y + height], atol=1e-2)
            assert ours["score"] == pytest.approx(theirs["score"], abs=1e-4)
        assert Image.open(tmp_path / "out" / entry["drawn"]).size == (64, 64)


def test_a_threshold_below_that_of_the_model_warns(trained, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("visionkit.pipelines.DetectionPipeline.min_score", 0.25)
    Image.fromarray(Shapes(split="val", count=1, size=64)[0].image).save("a.png")
    for threshold, warned in ((0.2, True), (0.25, False)):
        assert main(["predict", str(trained / "best.ckpt"), "a.png", "--score-threshold", str(threshold)]) == 0
        printed = capsys.readouterr()
        assert ("a score above 0.25" in " ".join((printed.out + printed.err).split())) == warned


def test_validate_takes_another_card_and_refuses_other_classes(trained, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["data.splits.val.count=2", "--output", "scores"]
    assert main(["validate", str(trained / "best.ckpt"), *words]) == 0
    card = tmp_path / "other.yaml"
    card.write_text("data: {format: voc, root: gone, splits: {test: {image_set: val}}}")
    assert main(["test", str(trained / "best.ckpt"), str(card)]) == 2
    assert "does not exist" in capsys.readouterr().err


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


REFUSED_RESUMES = {
    "is finished (trainer.max_epochs=1), and is not trained again": [],
    "is of another network than the recipe": ["trainer.max_epochs=2", "model.fpn_channels=8"],
}


@pytest.mark.parametrize("message", REFUSED_RESUMES)
def test_a_resume_that_cannot_go_on_changes_nothing(message, trained, monkeypatch, capsys):
    monkeypatch.chdir(trained.parent.parent.parent)
    before = contents(trained)
    assert main(["fit", "mine.yaml", *TINY, *REFUSED_RESUMES[message], "--resume"]) == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert "Traceback" not in printed
    assert contents(trained) == {**before, ".lock": contents(trained)[".lock"]}


def test_a_foreign_checkpoint_writes_only_beside_itself(trained, tmp_path, monkeypatch, capsys):
    import torch

    monkeypatch.chdir(tmp_path)
    content = torch.load(trained / "best.ckpt", weights_only=True)
    evil = {"folder": str(tmp_path / "evil"), "mode": "single", "count": 5}
    content["visionkit"]["recipe"]["data"].update(proposals=evil, num_workers=10**6, download=[{"url": "file:///etc"}])
    content["visionkit"]["recipe"]["after_training"] = {"folder": str(tmp_path / "evil")}
    (tmp_path / "foreign").mkdir()
    torch.save(content, "foreign/best.ckpt")
    assert main(["test", "foreign/best.ckpt"]) == 0
    printed = capsys.readouterr()
    assert f"data.proposals.folder={tmp_path}/evil" in "".join((printed.out + printed.err).split())
    written = {path.parts[0] for path in (file.relative_to(tmp_path) for file in tmp_path.rglob("*"))}
    assert written == {"foreign", "runs"}, "runs/proposals is the usual cache"


def test_two_runs_do_not_train_in_one_folder(trained, monkeypatch, capsys):
    monkeypatch.chdir(trained.parent.parent.parent)
    code = "import sys, pathlib; from visionkit.engine.run_lock import run_lock\n"
    code += "with run_lock(pathlib.Path(sys.argv[1])): print('locked', flush=True); sys.stdin.read()"
    other = subprocess.Popen([sys.executable, "-c", code, trained], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert other.stdout.readline() == b"locked\n"
    assert main(["fit", "mine.yaml", *TINY, "trainer.max_epochs=2", "--resume"]) == 2
    assert "is being trained by process" in capsys.readouterr().err
    other.communicate()


def test_resume_goes_on_from_the_last_checkpoint(trained, monkeypatch):
    import torch

    folder = trained.parent.parent.parent
    monkeypatch.chdir(folder)
    recipe = (trained / "recipe.yaml").read_text()
    before = torch.load(trained / "last.ckpt", weights_only=True)["global_step"]
    assert main(["fit", "mine.yaml", *TINY, "trainer.max_epochs=2", "--resume"]) == 0
    after = torch.load(trained / "last.ckpt", weights_only=True)["global_step"]
    assert (before, after) == (2, 4)
    assert (trained / "recipe.yaml").read_text() == recipe
    assert yaml.safe_load((trained / "recipe.resumed-1.yaml").read_text())["trainer"]["max_epochs"] == 2
    assert yaml.safe_load((trained / "finished.yaml").read_text())["max_epochs"] == 2


def test_an_output_folder_that_cannot_be_written_is_an_error(trained, tmp_path, capsys):
    (tmp_path / "out").write_text("a file, not a folder")
    Image.new("RGB", (32, 32)).save(tmp_path / "a.png")
    status = main(["predict", str(trained / "best.ckpt"), str(tmp_path / "a.png"), "--output", str(tmp_path / "out")])
    assert status == 2
    assert "cannot be written" in capsys.readouterr().err


def test_a_truncated_image_found_by_a_loader_process_is_named_in_a_line(recipe, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("a", "b"):
        Image.fromarray(Shapes(count=1, size=[40, 60])[0].image).save(tmp_path / "JPEGImages" / f"{name}.jpg")
        (tmp_path / "Annotations" / f"{name}.xml").write_text(xml())
    cut = tmp_path / "JPEGImages" / "b.jpg"
    cut.write_bytes(cut.read_bytes()[:400])
    (tmp_path / "ImageSets" / "Main" / "train.txt").write_text("a\nb\n")
    card = tmp_path / "card.yaml"
    card.write_text("data: {format: voc, root: ., splits: {train: {image_set: train}, val: {image_set: train}}}")
    tiny = [word for word in TINY if not word.startswith(("data.splits", "data.num_workers"))]
    assert main(["fit", str(recipe), str(card), *tiny, "data.num_workers=1"]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines[-1].startswith("visionkit: the image JPEGImages/b.jpg cannot be read")


def test_two_processes_share_one_run_folder(recipe, tmp_path):
    words = [*TINY, "trainer.devices=2", "trainer.strategy=ddp"]
    done = subprocess.run(
        [sys.executable, "-m", "visionkit", "fit", str(recipe), *words],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert [path.name for path in (tmp_path / "runs" / "mine").iterdir()] == ["1"]
    assert (tmp_path / "runs" / "mine" / "1" / "best.ckpt").is_file()
    assert done.stdout.count("best checkpoint") == 1


def test_nothing_to_resume_is_an_error(recipe, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["fit", str(recipe), "--resume"]) == 2
    assert "nothing to resume" in capsys.readouterr().err


def test_data_check_prints_metrics(capsys, tmp_path):
    card = tmp_path / "card.yaml"
    card.write_text("data: {format: shapes, splits: {train: {split: train, count: 5, size: 32}}}")
    assert main(["data", "check", str(card)]) == 0
    assert "5 images" in capsys.readouterr().out


def test_a_run_without_validation_reports_it_and_names_its_checkpoint(recipe, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["fit", str(recipe), *TINY, "trainer.check_val_every_n_epoch=2"]) == 0
    printed = capsys.readouterr().out
    assert "no validation was run" in printed
    assert "next: visionkit test runs/mine/1/last.ckpt" in printed


def test_names_in_another_encoding_are_printed_as_escapes(tmp_path, monkeypatch):
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "\udcff.png").write_bytes(b"broken")
    card = "data: {format: folder, root: ., splits: {train: {path: .}}}"
    (tmp_path / "card.yaml").write_text(card)
    command = [sys.executable, "-m", "visionkit", "data", "check", "card.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 1, done.stderr
    assert r"PROBLEM the image cat/\udcff.png cannot be read" in done.stdout


@pytest.mark.parametrize("words", [["data.root=true"], ["data.download={url: x}"], ["data.download=x"]])
def test_a_download_of_wrong_types_is_refused(words, tmp_path, capsys):
    card = tmp_path / "card.yaml"
    card.write_text("data: {format: shapes, root: x, download: [{url: 'http://localhost/a.zip'}]}")
    assert main(["data", "download", str(card), *words]) == 2
    assert "data.root must be the path of a folder" in capsys.readouterr().err


def test_null_plugins_are_none(tmp_path, capsys):
    card = tmp_path / "card.yaml"
    card.write_text("plugins: null\ndata: {format: shapes, splits: {train: {split: train, count: 2, size: 32}}}")
    assert main(["data", "check", str(card)]) == 0


def test_settings_that_lightning_refuses_when_training_starts_are_a_mistake(recipe, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["fit", str(recipe), *TINY, "trainer.limit_train_batches=0.1"]) == 2
    message = capsys.readouterr().err
    assert "visionkit: trainer: Lightning refuses its settings\n" in message
    assert "limit_train_batches" in message
