"""The pipeline of several heads: one forward pass, one result per head, and a checkpoint that restores it."""

import weakref

import numpy as np
import pytest
import torch

import visionkit as vk
from tests.helpers.small_multi import multi_data, multi_task
from tests.helpers.small_trainer import small_trainer
from visionkit.errors import ConfigError
from visionkit.report.draw import draw

SIZE = [64, 64]
CLASSES = {"objects": ["disc", "star"], "regions": ["sky", "road", "tree"], "tags": ["day", "night"]}
HEADS = {
    "objects": {"name": "retinanet", "fpn_channels": 16, "nms": vk.NMSOptions(score_threshold=0.0)},
    "regions": {"name": "unet", "decoder_channels": [32, 16, 16, 8, 8]},
    "tags": {"name": "classifier", "multi_label": True},
}
PIPELINES = {
    "objects": (vk.DetectionPipeline, vk.DetectionPreprocessOptions),
    "regions": (vk.SegmentationPipeline, vk.SegmentationPreprocessOptions),
    "tags": (vk.ClassificationPipeline, vk.ClassificationPreprocessOptions),
}


def model(*names):
    torch.manual_seed(0)
    heads = {name: {**HEADS[name], "num_classes": len(CLASSES[name])} for name in names}
    backbone = vk.create_backbone("resnet18", weights="none")
    return vk.MultiHead(backbone, sum(len(CLASSES[name]) for name in names), heads=heads).eval()


def parts(network, **preprocess):
    """Return the pipelines of the heads; the preprocessing of a head by its name."""
    made = {}
    for name in network.heads:
        pipeline, options = PIPELINES[name]
        given = options(**{"size": SIZE, **preprocess.get(name, {})})
        made[name] = pipeline(network.head(name), CLASSES[name], preprocess=given)
    return made


def pipeline(*names, **preprocess):
    network = model(*(names or HEADS))
    return vk.MultiPipeline(network, parts(network, **preprocess))


@pytest.fixture
def images():
    random = np.random.default_rng(0)
    return [random.integers(0, 255, (height, width, 3), np.uint8) for height, width in ((50, 70), (90, 40))]


def passes(of, images):
    """Return the number of forward passes of the backbone, with the results."""
    calls = []
    hook = of.network.backbone.register_forward_hook(lambda *_: calls.append(1))
    results = of.predict(images, batch_size=2)
    hook.remove()
    return len(calls), results


def test_heads_with_equal_inputs_share_one_forward_pass(images):
    assert passes(pipeline(), images)[0] == 1
    assert passes(pipeline(tags={"size": [96, 96]}), images)[0] == 2
    assert passes(pipeline(tags={"size": [96, 96]}, regions={"size": [32, 32]}), images[:1])[0] == 3


def test_the_order_of_the_heads_does_not_matter_for_images_of_several_sizes(images):
    count, results = passes(pipeline("regions", "objects", "tags"), images)
    assert count == 1
    assert list(results[0].heads) == ["regions", "objects", "tags"]


def test_nothing_is_kept_between_calls(images):
    found = pipeline("tags")
    assert [passes(found, images)[0] for _ in range(2)] == [1, 1]


@pytest.mark.parametrize("size", [SIZE, [96, 64]])
def test_a_head_predicts_as_its_own_pipeline(size, images):
    found = pipeline(tags={"size": size})
    together = found.predict(images, batch_size=2)
    for name in HEADS:
        for one, other in zip(together, found.head(name).predict(images, batch_size=2), strict=True):
            assert_close(one.heads[name].to_dict(), other.to_dict())


def assert_close(one, other):
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_close(one[key], other[key])
    elif isinstance(one, list):
        assert len(one) == len(other)
        for first, second in zip(one, other, strict=True):
            assert_close(first, second)
    else:
        assert one == (pytest.approx(other, rel=1e-3, abs=1e-3) if isinstance(one, float) else other)


def test_single_is_an_ordinary_pipeline_with_copies_of_the_weights(images):
    found = pipeline()
    for name in HEADS:
        alone = found.single(name)
        assert type(alone) is PIPELINES[name][0]
        assert alone.training == found.training
        before = alone.predict(images[0])[0].to_dict()
        assert_close(before, found.predict(images[0])[0].heads[name].to_dict())
        with torch.no_grad():
            for parameter in found.network.parameters():
                parameter.mul_(1.5)
        assert alone.predict(images[0])[0].to_dict() == before
        found = pipeline()
    with pytest.raises(ConfigError, match="no head 'tag'; did you mean tags"):
        found.single("tag")


def test_a_checkpoint_restores_it_bit_for_bit(tmp_path, images):
    network = model(*HEADS)
    statistics = {"mean": [0.1, 0.2, 0.3], "std": [0.3, 0.2, 0.1]}
    of_heads = parts(network, **dict.fromkeys(HEADS, statistics))
    tasks = {
        "objects": vk.Detection(of_heads["objects"]),
        "regions": vk.Segmentation(of_heads["regions"], loss=vk.SegmentationLossOptions(terms=["dice"])),
        "tags": vk.Classification(of_heads["tags"]),
    }
    task = vk.MultiTask(network, tasks, balancing=vk.BalancingOptions("gradnorm", {"tags": 0.5}, {"alpha": 0.5})).eval()
    torch.save({"visionkit": task.description(), "state_dict": task.state_dict()}, tmp_path / "a.ckpt")

    again = vk.load(tmp_path / "a.ckpt")
    assert [*again.heads] == [*HEADS]
    assert (again.class_names, again.network.backbone.mean) == (task.class_names, (0.1, 0.2, 0.3))
    for image in images:
        before, after = task.pipeline.predict(image)[0], again.predict(image)[0]
        assert len(before.heads["objects"])
        assert before.to_dict() == after.to_dict()
    restored = vk.MultiTask.load_from_checkpoint(tmp_path / "a.ckpt")
    assert restored.balancing_options == task.balancing_options
    assert restored.heads["regions"].loss_options == tasks["regions"].loss_options


def test_heads_that_normalize_differently_are_refused():
    with pytest.raises(
        ConfigError, match=r"the heads objects and tags normalize images differently.*\n.*preprocess.mean"
    ):
        pipeline(tags={"mean": [0.5, 0.5, 0.5]})
    with pytest.raises(ConfigError, match="the heads objects and regions normalize"):
        pipeline(regions={"std": [0.5, 0.5, 0.5]})


def test_pipelines_of_other_networks_or_heads_are_refused():
    network, other = model("objects", "tags"), model("objects", "tags")
    with pytest.raises(ConfigError, match=r"tags needs a pipeline whose network is network.head\('tags'\)"):
        vk.MultiPipeline(network, {**parts(network), "tags": parts(other)["tags"]})
    with pytest.raises(ConfigError, match="objects needs a pipeline"):
        vk.MultiPipeline(network, {"tags": parts(network)["tags"]})
    with pytest.raises(ConfigError, match="no head 'tag'; did you mean tags"):
        vk.MultiPipeline(network, {**parts(network), "tag": parts(network)["tags"]})


@pytest.fixture
def result():
    objects = vk.DetectionResult(
        source=None,
        class_names=CLASSES["objects"],
        labels=np.array([1, 0]),
        boxes=np.array([[4, 4, 40, 40], [30, 20, 60, 44]], np.float32),
        scores=np.array([0.9, 0.2], np.float32),
        masks=None,
    )
    tags = vk.ClassificationResult(None, CLASSES["tags"], np.array([1, 0]), np.array([0.75, 0.25], np.float32))
    mask = np.zeros((48, 64), np.uint8)
    mask[:12] = 2
    shares, colors = np.array([0.75, 0.25], np.float32), [[0, 0, 200], [90, 90, 90], [0, 200, 0]]
    regions = vk.SegmentationResult(None, CLASSES["regions"], np.array([0, 2]), mask, shares, colors)
    return vk.MultiResult.of_heads({"objects": objects, "regions": regions, "tags": tags})


def test_a_result_has_the_classes_of_all_heads(result):
    assert result.class_names == [f"{head}/{name}" for head, names in CLASSES.items() for name in names]
    assert result.names == ["objects/star", "objects/disc", "regions/sky", "regions/tree", "tags/night", "tags/day"]


def test_a_result_is_filtered_in_every_head(result):
    assert result.filter(0.5).names == ["objects/star", "regions/sky", "tags/night"]
    assert len(result.names) == 6, "the result itself is unchanged"


def test_a_result_is_listed_with_the_names_of_the_heads(result):
    rows = result.rows()
    assert [(row["head"], row["name"]) for row in rows] == [tuple(name.split("/")) for name in result.names]
    assert rows[0]["score"] == pytest.approx(0.9)
    assert {key for row in rows for key in row} <= {*vk.MultiResult.columns}
    assert [rows[0][key] for key in ("x1", "y1", "x2", "y2")] == [4, 4, 40, 40]
    assert rows[2] == {"head": "regions", "name": "sky", "share": 0.75}
    content = result.to_dict()
    assert content["image"] is None
    assert [*content["heads"]] == [*HEADS]
    assert content["heads"]["tags"]["classes"][0] == {"name": "night", "score": 0.75}
    assert not any("image" in head for head in content["heads"].values())
    assert [*result.images()] == ["regions_masks"]


def test_a_result_is_a_table_with_gaps(result):
    pytest.importorskip("pandas")
    table = result.to_pandas()
    assert list(table.columns) == ["image", *vk.MultiResult.columns]
    assert list(table["head"]) == [row["head"] for row in result.rows()]
    assert table.loc[table["head"] == "tags", "x1"].isna().all()


def test_every_head_is_drawn_on_the_same_image(result):
    blank = np.full((48, 64, 3), 128, np.uint8)
    drawn = np.asarray(draw(result, blank))
    assert drawn.shape[1] == 64
    for name in HEADS:
        without = {key: value for key, value in result.heads.items() if key != name}
        other = np.asarray(draw(vk.MultiResult.of_heads(without), blank))
        assert drawn.shape != other.shape or (drawn != other).any(), name


def test_each_head_is_shown_with_its_own_threshold(result):
    found = pipeline()
    own = {name: head.display_threshold for name, head in found.heads.items()}
    assert len({*own.values()}) > 1
    shown = result.filter(found.display_threshold)
    for name, threshold in own.items():
        assert shown.heads[name].to_dict() == result.heads[name].filter(threshold).to_dict()
    assert len(found.display_threshold) == len(found.class_names)


@pytest.mark.parametrize(("tile", "kept"), [(None, 1), (64, 0)])
def test_maps_of_tiles_are_not_kept(tile, kept):
    heads = {"regions": {"name": "unet", "num_classes": 2}, "others": {"name": "unet", "num_classes": 2}}
    model = vk.MultiHead(vk.create_backbone("resnet18", weights="none"), 4, heads=heads)
    options = vk.SegmentationInferenceOptions(tile=tile, overlap=0)
    regions = vk.SegmentationPipeline(model.head("regions"), ["a", "b"], inference=options)
    others = vk.SegmentationPipeline(model.head("others"), ["a", "b"])
    pipeline = vk.MultiPipeline(model, {"regions": regions, "others": others})
    maps, alive = [], []
    model.backbone.register_forward_hook(lambda module, images, made: maps.append(weakref.ref(made["s4"])))
    model.head("others").register_forward_pre_hook(lambda *_: alive.append(sum(ref() is not None for ref in maps)))
    pipeline.eval().predict(np.zeros((256, 256, 3), np.uint8))
    assert alive == [kept]


def test_no_file_is_opened_that_a_checkpoint_names_as_weights_of_a_head(tmp_path):
    task, trainer = multi_task(multi_data("tags")), small_trainer()
    trainer.strategy.connect(task)
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    checkpoint = torch.load(tmp_path / "model.ckpt", weights_only=True)
    checkpoint["visionkit"]["model"]["heads"]["tags"]["weights"] = str(tmp_path / "other.txt")
    (tmp_path / "other.txt").write_text("no weights")
    torch.save(checkpoint, tmp_path / "model.ckpt")
    assert list(vk.load(tmp_path / "model.ckpt").heads) == ["tags"]
