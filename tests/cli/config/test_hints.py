import re

import pytest
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

from tests.helpers.real_data import REPOSITORY
from visionkit.backbones import create_backbone
from visionkit.cli.config.compose import compose
from visionkit.cli.config.hints import HINTS, check_words, key_hint, markdown_table, option_hint
from visionkit.cli.config.schema import check
from visionkit.cli.main import main
from visionkit.errors import ConfigError

RECIPES = ("faster_rcnn_resnet50", "retinanet_resnet50", "resnet50_imagenet", "unet")

TYPED = {
    "imgsz=640": "unknown key imgsz=640\nhere it is preprocess.short_side",
    "epochs=100": "here it is trainer.max_epochs",
    "batch=16": "here it is data.batch_size",
    "data=coco.yaml": "here it is a data card beside the recipe: visionkit fit RECIPE CARD",
    "model=yolov8n.pt": "here it is a recipe",
    "conf=0.25": "here it is inference.score_threshold",
    "lr0=0.01": "here it is optimizer.lr",
    "optimizer=SGD": "here it is optimizer.name",
    "SOLVER.BASE_LR=0.02": "here it is optimizer.lr",
    "MODEL.WEIGHTS=x.pkl": "here it is model.weights",
    "MODEL.MASK_ON=true": "a key of another project",
    "train_cfg.max_epochs=12": "here it is trainer.max_epochs",
    "train_cfg.by_epoch=true": "a key of another project",
    "weights=x.pt": "here it is model.weights",
}


@pytest.mark.parametrize("word", TYPED)
@pytest.mark.parametrize("command", [["fit", "faster_rcnn_resnet50"], ["test", "a.ckpt"], ["predict", "a.ckpt"]])
def test_a_word_of_another_project_is_translated(command, word, capsys):
    assert main([*command, word]) == 2
    message = capsys.readouterr().err
    assert TYPED[word] in message
    assert message.endswith("\n  the command line\n")
    assert len(message.splitlines()) <= 5


def test_detectron2_s_words_without_equals_sign_are_translated(capsys):
    assert main(["fit", "faster_rcnn_resnet50", "SOLVER.BASE_LR", "0.02"]) == 2
    assert "unknown key SOLVER.BASE_LR=0.02\nhere it is optimizer.lr" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "hint"),
    [
        ("--weights", "here it is model.weights for the whole network"),
        ("--imgsz=640", "here it is preprocess.short_side"),
        ("--batch-size", "here it is data.batch_size"),
        ("--trainer.max_epochs=3", "keys of a recipe are written without dashes: trainer.max_epochs=VALUE"),
        ("--config-file", "here it is a recipe"),
    ],
)
def test_an_option_of_another_project_is_translated(option, hint, capsys):
    with pytest.raises(SystemExit) as end:
        main(["fit", "faster_rcnn_resnet50", option])
    message = capsys.readouterr().err
    assert end.value.code == 2
    assert hint in message
    assert len(message.splitlines()) <= 5


def test_a_word_of_another_project_in_a_file_is_translated(tmp_path, capsys):
    path = tmp_path / "mine.yaml"
    path.write_text("base: []\ntask: detection\nmodel: {name: retinanet, backbone: resnet18}\nepochs: 100\n")
    assert main(["fit", str(path)]) == 2
    assert capsys.readouterr().err == (f"visionkit: unknown key epochs\nhere it is trainer.max_epochs\n  {path}:4\n")


@pytest.mark.parametrize("word", ["model.weights=x", "data.batch_size=2", "optimizer.momentum=0.9", "data=3", "seed=1"])
def test_keys_of_visionkit_get_no_hint(word):
    check_words([word])
    assert key_hint("unheard_of") is None
    assert option_hint("--unheard-of") is None


def test_every_hint_names_keys_that_exist():
    for hint in (hint for hints in HINTS.values() for hint in hints):
        for key in re.findall(r"`([a-z_]+(?:\.[a-z_]+)+)(?:=[^`]*)?`", hint.here):
            assert any(_exists(key, recipe) for recipe in RECIPES), f"{hint.word}: {key}"


def _exists(key, recipe):
    try:
        check(compose([recipe, f"{key}="]))
    except ConfigError as error:
        return "unknown key" not in str(error)
    return True


@pytest.mark.parametrize(("layers", "frozen_stages"), [(0, 4), (1, 3), (2, 2), (3, 1), (5, 0)])
def test_trainable_layers_of_torchvision_are_the_stages_that_are_not_frozen(layers, frozen_stages):
    theirs = resnet_fpn_backbone(backbone_name="resnet18", weights=None, trainable_layers=layers).body
    ours = create_backbone("resnet18", weights="none")
    ours.is_randomly_initialized = False
    ours.freeze(frozen_stages)
    trained = [{name for name, p in network.named_parameters() if p.requires_grad} for network in (theirs, ours)]
    assert trained[0] == trained[1] & {name for name, _ in theirs.named_parameters()}  # theirs has frozen BatchNorm


PAGE = REPOSITORY / "docs" / "coming-from.md"


@pytest.mark.parametrize("project", HINTS)
def test_the_documentation_has_the_table_of_every_project(project):
    assert markdown_table(project) in PAGE.read_text()


def test_hints_are_a_table_of_the_documentation():
    lines = markdown_table("ultralytics").splitlines()
    assert lines[:2] == ["| ultralytics | visionkit |", "|---|---|"]
    assert "| `epochs` | `trainer.max_epochs` |" in lines
