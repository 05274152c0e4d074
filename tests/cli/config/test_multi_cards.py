"""Recipes for several heads: data cards by name, the heads that each is for, and every mistake in them."""

import pytest
import yaml

from visionkit.cli.config.compose import compose
from visionkit.cli.config.schema import check, check_data
from visionkit.errors import ConfigError

RECIPE = """task: multi
model:
  name: multi
  backbone: {name: resnet18, weights: none}
  heads:
    objects: {name: retinanet, fpn_channels: 16}
    regions: {name: unet}
    tags: {name: classifier, multi_label: true}
data:
  cards:
    boxes: {format: coco, root: b, heads: [objects], augment: [{name: HorizontalFlip}]}
    masks: {format: masks, root: m}
    words: {format: csv, root: w}
"""
GIVEN = {
    "boxes": "data: {format: voc, root: v, classes: [cat], batch_size: 7}\n",
    "masks": "data: {format: masks, root: n}\n",
    "words": "data: {format: csv, root: x}\n",
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working folder, with the recipe and three cards."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    for name, text in GIVEN.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    return tmp_path


def composed(*words, onto=None):
    layer = compose(list(words), onto=onto)
    check(layer)
    return layer


def cards(*words):
    return composed(*words).values["data"]["cards"]


def heads_of_cards(*words):
    return {name: card["heads"] for name, card in cards(*words).items()}


def test_cards_are_bound_by_name_or_by_their_annotation(folder):
    assert heads_of_cards("recipe.yaml") == {"boxes": ["objects"], "masks": ["regions"], "words": ["tags"]}


def test_classes_that_follow_from_boxes_are_left_to_a_card_that_has_them(folder):
    (folder / "recipe.yaml").write_text(RECIPE.replace(", heads: [objects]", ""))
    assert heads_of_cards("recipe.yaml") == {"boxes": ["objects"], "masks": ["regions"], "words": ["tags"]}
    assert heads_of_cards("recipe.yaml", *(f"{name}.yaml" for name in GIVEN))["boxes"] == ["objects"]


def test_a_card_of_any_annotation_names_its_heads(folder):
    with pytest.raises(
        ConfigError, match=r"the card masks can have any annotation: .*\n.*heads=\[objects, regions, tags\]"
    ):
        composed("recipe.yaml", "data.cards.masks.format=shapes")


def test_the_name_of_a_card_has_no_dot(folder):
    (folder / "v1.2.yaml").write_text(GIVEN["boxes"])
    assert {*cards("recipe.yaml", "v1.2.yaml", "masks.yaml", "words.yaml")} == {"v1_2", "masks", "words"}


def test_a_card_is_for_every_head_whose_annotation_it_has(folder):
    (folder / "recipe.yaml").write_text(RECIPE.replace(", heads: [objects]", "").replace("    words:", "    #"))
    assert heads_of_cards("recipe.yaml") == {"boxes": ["objects", "tags"], "masks": ["regions"]}


def test_a_classifier_of_one_label_is_not_for_tags(folder):
    (folder / "recipe.yaml").write_text(RECIPE.replace(", multi_label: true", "").replace(", heads: [objects]", ""))
    assert heads_of_cards("recipe.yaml") == {"boxes": ["objects"], "masks": ["regions"], "words": ["tags"]}


def test_one_head_may_be_named_without_a_list(folder):
    words = ["model.heads.tag={name: classifier, multi_label: true}", "data.cards.words.heads=tags"]
    words += ["data.cards.more={format: csv, root: z, heads: tag}"]
    assert heads_of_cards("recipe.yaml", *words)["words"] == ["tags"]
    assert heads_of_cards("recipe.yaml", *words)["more"] == ["tag"]


def test_the_name_of_a_shipped_card_is_enough(folder):
    (folder / "recipe.yaml").write_text(RECIPE.split("data:")[0] + "data: {cards: {shapes: {heads: [objects]}}}\n")
    words = ["data.cards.shapes.heads=[objects, regions, tags]", "data.cards.shapes.splits.train.count=3"]
    shapes = cards("recipe.yaml", *words)["shapes"]
    assert (shapes["format"], shapes["splits"]["train"]["count"]) == ("shapes", 3)
    assert shapes["splits"]["val"]["count"] == 100


def test_given_cards_take_the_place_of_those_of_the_recipe(folder):
    (folder / "own.yaml").write_text("data: {format: yolo, root: y}\n")
    found = cards("recipe.yaml", "own.yaml", "masks.yaml", "words.yaml", "data.cards.own.heads=[objects]")
    assert found == {
        "masks": {"format": "masks", "root": "n", "heads": ["regions"]},
        "words": {"format": "csv", "root": "x", "heads": ["tags"]},
        "own": {"format": "yolo", "root": "y", "heads": ["objects"]},
    }


def test_a_given_card_keeps_what_the_recipe_says_about_its_name_but_not_its_images(folder):
    found = cards("recipe.yaml", "boxes.yaml", "masks.yaml", "words.yaml")["boxes"]
    flip = [{"name": "HorizontalFlip"}]
    assert found == {"format": "voc", "root": "v", "classes": ["cat"], "heads": ["objects"], "augment": flip}


def test_what_a_recipe_without_a_format_says_about_a_card_is_above_the_card(folder):
    (folder / "recipe.yaml").write_text(RECIPE.replace("format: coco, root: b", "root: mine"))
    found = cards("recipe.yaml", "boxes.yaml", "masks.yaml", "words.yaml")["boxes"]
    assert (found["format"], found["root"]) == ("voc", "mine")


def test_a_card_with_the_name_of_one_in_a_checkpoint_replaces_its_images(folder):
    trained = composed("recipe.yaml", "data.cards.masks.splits.val.images=i").values
    found = composed("boxes.yaml", "masks.yaml", "words.yaml", onto=trained).values["data"]["cards"]
    assert {name: card["root"] for name, card in found.items()} == {"boxes": "v", "masks": "n", "words": "x"}
    assert "splits" not in found["masks"]
    assert found["boxes"]["heads"] == ["objects"]


def test_another_format_of_the_command_line_replaces_the_images_of_one_card(folder):
    found = cards("recipe.yaml", "data.cards.boxes.format=voc", "data.cards.boxes.root=other")
    assert found["boxes"].items() >= {"format": "voc", "root": "other", "heads": ["objects"]}.items()
    found = cards("recipe.yaml", "data.cards.boxes.format=voc")
    assert "root" not in found["boxes"]
    assert found["masks"]["root"] == "m"
    assert cards("recipe.yaml", "data.cards.boxes.format=coco")["boxes"]["root"] == "b"


FOR = """for:
  detection: {model: {fpn_channels: 8, focal_loss: {gamma: 1.0}}, inference: {flip: true}, seed: 9}
  retinanet:
    model: {fpn_channels: 32, backbone: {batch_norm: frozen}}
    preprocess: {short_side: 77}
    optimizer: {lr: 9}
    trainer: {max_epochs: 99}
    data: {batch_size: 99}
  retinanet/resnet50: {preprocess: {short_side: 99}}
  unet: {preprocess: {short_side: 55}}
"""


def test_sections_of_a_card_change_its_own_heads_only(folder):
    (folder / "boxes.yaml").write_text(GIVEN["boxes"] + FOR)
    layer = composed("recipe.yaml", "boxes.yaml", "masks.yaml", "words.yaml", "heads.objects.inference.flip=false")
    values = layer.values
    assert values["model"]["heads"]["objects"] == {
        "name": "retinanet",
        "fpn_channels": 32,
        "focal_loss": {"gamma": 1.0},
    }
    assert values["heads"] == {"objects": {"preprocess": {"short_side": 77}, "inference": {"flip": False}}}
    assert values["model"]["backbone"] == {"name": "resnet18", "weights": "none"}
    assert not {"for", "seed", "optimizer", "trainer", "preprocess"} & values.keys()
    assert "batch_size" not in values["data"]
    assert layer.origin(("model", "heads", "objects", "fpn_channels")) == "boxes.yaml:4"
    other = composed("recipe.yaml", "boxes.yaml", "masks.yaml", "words.yaml", "model.backbone.name=resnet50").values
    assert other["heads"]["objects"]["preprocess"]["short_side"] == 99


def test_the_recipe_of_a_run_composes_to_itself(folder):
    (folder / "boxes.yaml").write_text(GIVEN["boxes"] + FOR)
    values = composed("recipe.yaml", "boxes.yaml", "masks.yaml", "words.yaml", "data.batch_size=3", "seed=4").values
    (folder / "run.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    again = composed("run.yaml").values
    assert again == values
    assert [*again["data"]["cards"]] == [*values["data"]["cards"]]


MORE = "model.heads.more.name"
MISTAKES = {
    "data.cards.masks.format=csv": r"the head regions has no data card: give one with semantic, or bind one:\n"
    r"data.cards.<card>.heads=\[regions\]; the cards are boxes, masks, words\n  recipe.yaml:7",
    f"{MORE}=deeplabv3": r"masks has semantic, which several heads take: regions, more\n.*masks.heads=\[regions\]\n",
    "model.heads.objects.name=classifier": r"used by the head objects, which needs label: its format coco has",
    "data.cards.boxes.heads=[regions]": r"boxes cannot be used by the head regions, which needs semantic: "
    r"its format coco has boxes, tags\n  recipe.yaml:11",
    "data.cards.boxes.heads=[object]": r"cards.boxes.heads: no head 'object'; did you mean objects.*\n  recipe.yaml:11",
    "data=3": r"data must hold `key: value` lines, not 3\n  the command line",
    "model=3": r"model must hold `key: value` lines, not 3\n  the command line",
    "data.cards.boxes.heads=[3]": r"data.cards.boxes.heads=\[3\] must be a list of names\n",
    "data.cards.boxes.heads=[]": r"data.cards.boxes.heads=\[\] must be a list of names",
    "data.cards.masks=3": r"data.cards.masks must hold `key: value` lines, not 3\n  the command line",
    "data.cards=[3]": r"data.cards must hold `key: value` lines, not \[3\]\n  the command line",
    "model.heads=": r"model.heads is missing: .*\n  the command line",
    "model.heads.objects=3": r"model.heads.objects must hold `key: value` lines, not 3\n  the command line",
    "model.heads.objects.fpn_chanels=3": r"heads.objects.fpn_chanels; did you mean fpn_channels\?\n  the command line",
    "model.heads.objects.frozen_stages=3": r"unknown key model.heads.objects.frozen_stages",
    "heads.objects.preprocess.sze=3": r"key heads.objects.preprocess.sze; did you mean size .*\n  the command line",
    "heads.objects.optimizer.lr=3": r"unknown key heads.objects.optimizer; known: evaluation, inference, preprocess",
    "heads.object.preprocess.size=3": r"unknown key heads.object; did you mean objects",
    "data.cards.boxes.rot=3": r"unknown key data.cards.boxes.rot; did you mean root\?\n  the command line",
    "data.cards.boxes.batch_size=3": r"unknown key data.cards.boxes.batch_size; known: .*\n  the command line",
    "data.cards.boxes.splits.val.annotation=3": r"data.cards.boxes.splits.val.annotation; did you mean annotations",
    "data.cards.boxes.format=kokko": r"data.cards.boxes.format: unknown name 'kokko'",
    "data.root=here": r"unknown key data.root; known: .*cards.*\n  the command line",
    "preprocess.short_side=3": r"unknown key preprocess; known: .*heads",
    "balancing.nme=pcgrad": r"unknown key balancing.nme; did you mean name",
    "evaluation.referenc.objects=0.5": r"unknown key evaluation.referenc; did you mean reference",
    "task=detection": r"the model 'multi' is for the task 'multi', not 'detection'",
}


@pytest.mark.parametrize("word", MISTAKES)
def test_mistakes_are_named_with_their_origin(word, folder):
    with pytest.raises(ConfigError, match=MISTAKES[word]) as error:
        composed("recipe.yaml", word)
    assert len(str(error.value).splitlines()) <= 5


def test_a_mistake_in_a_file_has_its_line(folder):
    wrong = RECIPE.replace("{name: unet}", "\n      name: unet\n      decoder_chanels: [8]")
    (folder / "recipe.yaml").write_text(wrong)
    with pytest.raises(ConfigError, match=r"model.heads.regions.decoder_chanels; .*\n  recipe.yaml:9"):
        composed("recipe.yaml")


def test_a_mistake_in_a_section_of_a_card_has_its_line(folder):
    (folder / "boxes.yaml").write_text(GIVEN["boxes"] + FOR.replace("fpn_channels: 32", "fpn_chanels: 32"))
    with pytest.raises(ConfigError, match=r"unknown key model.heads.objects.fpn_chanels; .*\n  boxes.yaml:4"):
        composed("recipe.yaml", "boxes.yaml", "masks.yaml", "words.yaml")


def test_a_card_that_no_head_can_use_is_refused(folder):
    (folder / "recipe.yaml").write_text(RECIPE.replace("    regions:", "    #"))
    message = r"the card masks, which has semantic\nthe heads need: objects: boxes, tags: tags\n  recipe.yaml:12"
    with pytest.raises(ConfigError, match=message):
        composed("recipe.yaml")


def test_cards_of_one_name_are_refused(folder):
    (folder / "other").mkdir()
    (folder / "other" / "boxes.yaml").write_text(GIVEN["boxes"])
    with pytest.raises(ConfigError, match="two data cards have the same name"):
        composed("recipe.yaml", "boxes.yaml", "other/boxes.yaml", "masks.yaml", "words.yaml")


def test_a_card_without_a_format_must_be_a_shipped_one(folder):
    (folder / "recipe.yaml").write_text(RECIPE + "    shape: {heads: [objects]}\n")
    with pytest.raises(ConfigError, match="no recipe or data card shape; did you mean shapes"):
        composed("recipe.yaml")


def test_a_checkpoint_of_several_heads_gives_no_code_paths_and_no_folder_to_write_to(folder):
    trained = composed("recipe.yaml").values
    evil = {"download": [{"url": "http://evil"}], "augment": [{"name": "Evil"}], "stream": {"cache": "/evil"}}
    evil["proposals"] = {"mode": "fast", "folder": "/evil"}
    trained["data"]["cards"]["boxes"].update(evil)
    trained["data"]["cards"]["masks"]["root"] = "http://evil/masks"
    trained["heads"] = {"objects": {"inference": {"flip": True}, "loss": {"evil": 1}}}
    values = compose([], onto=trained).values
    expected = {"format": "coco", "root": "b", "heads": ["objects"], "proposals": {"mode": "fast"}}
    assert values["data"]["cards"]["boxes"] == expected
    assert "root" not in values["data"]["cards"]["masks"]
    assert values["heads"] == {"objects": {"inference": {"flip": True}}}


SHIPPED = "multi_shapes_resnet18"


def checked(*words):
    recipe = compose([SHIPPED, *words])
    check(recipe)
    return recipe


@pytest.mark.parametrize("name", ["'a.b'", "''", "a/b", "../b", "a b"])
def test_the_name_of_a_head_can_be_part_of_a_file_name(name):
    with pytest.raises(ConfigError, match="cannot be the name of a head: use letters, digits, _ and -"):
        checked(f"model.heads={{{name}: {{name: unet}}}}")


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("data=3", "data must hold"),
        ("data.cards=3", "data.cards must hold"),
        ("data.cards.shapes=3", "data.cards.shapes must hold"),
        ("model=3", "model must hold"),
        ("model.heads=3", "model.heads must hold"),
        ("model.heads.tags=3", "model.heads.tags must hold"),
    ],
)
def test_a_value_in_place_of_keys_is_named(word, message):
    with pytest.raises(ConfigError, match=message):
        checked(word)


def test_the_heads_of_a_card_are_names():
    with pytest.raises(ConfigError, match=r"data.cards.shapes.heads=\['objects', 7\] must be a list of names"):
        checked("data.cards.shapes.heads=[objects, 7]")


def test_commands_for_one_card_refuse_the_recipe():
    with pytest.raises(ConfigError, match="for one data card, and a recipe of several heads has several"):
        check_data(compose([SHIPPED]))
