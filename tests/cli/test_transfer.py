"""Transfer learning through the command line: between tasks, head only, stage by stage."""

import pytest
import torch

from visionkit.cli.main import main

TRAINER = "trainer: {max_epochs: 1, accelerator: cpu, enable_progress_bar: false, enable_model_summary: false}"
BACKBONE = "{name: resnet18, weights: none}"
RECIPES = {
    "classification": f"""
task: classification
model: {{name: classifier, backbone: {BACKBONE}}}
preprocess: {{short_side: 32, crop: 32}}
optimizer: {{name: adam, lr: 0.001, base_batch_size: 4}}
schedule: {{name: constant, warmup_steps: 0}}
data:
  format: shapes
  batch_size: 4
  num_workers: 0
  splits:
    train: {{split: train, count: 8, size: 32, min_object: 0.5, max_objects: 1, empty_share: 0.0}}
    val: {{split: val, count: 4, size: 32, min_object: 0.5, max_objects: 1, empty_share: 0.0}}
{TRAINER}
""",
    "detection": f"""
task: detection
model: {{name: faster_rcnn, backbone: {BACKBONE}, fpn_channels: 16, head_channels: 16,
  roi: {{batch_size_per_image: 16}}}}
preprocess: {{short_side: 64, long_side: 128}}
optimizer: {{lr: 0.001, base_batch_size: 2}}
schedule: {{name: constant, warmup_steps: 0}}
data:
  format: shapes
  num_workers: 0
  splits: {{train: {{split: train, count: 4, size: 64}}, val: {{split: val, count: 2, size: 64}}}}
{TRAINER}
""",
    "segmentation": f"""
task: segmentation
model: {{name: unet, backbone: {BACKBONE}, decoder_channels: [16, 16, 16, 8, 8]}}
optimizer: {{name: adam, lr: 0.01, base_batch_size: 2}}
schedule: {{name: constant, warmup_steps: 0}}
data:
  format: shapes
  batch_size: 2
  num_workers: 0
  splits:
    train: {{split: train, count: 4, size: 64, semantic: true}}
    val: {{split: val, count: 2, size: 64, semantic: true}}
{TRAINER}
""",
}
PREFIX = "pipeline.network.backbone."


def fit(task, folder, *words):
    """Train in `folder`, and return the path of the last checkpoint."""
    folder.mkdir(exist_ok=True)
    (folder / "mine.yaml").write_text(RECIPES[task])
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["fit", "mine.yaml", *words]) == 0
    return folder / "runs" / "mine" / "1" / "last.ckpt"


def of_backbone(path):
    state = torch.load(path, weights_only=True)["state_dict"]
    return {key.removeprefix(PREFIX): value for key, value in state.items() if key.startswith(PREFIX)}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A checkpoint of each task; after two steps the running statistics of a segmentation model are not useful."""
    return {task: fit(task, tmp_path_factory.mktemp("source") / task) for task in RECIPES}


@pytest.mark.parametrize(
    ("source", "target"),
    [(source, target) for source in ("classification", "detection") for target in RECIPES if target != source],
)
def test_a_backbone_goes_from_task_to_task_and_stays_as_it_is(source, target, trained, tmp_path):
    fixed = ["model.backbone.frozen_stages=all", "model.backbone.batch_norm=frozen"]
    path = fit(target, tmp_path, f"model.backbone.weights={trained[source]}", *fixed)
    given, kept = of_backbone(trained[source]), of_backbone(path)
    assert given.keys() == kept.keys()
    assert all(torch.equal(given[key], kept[key]) for key in given), "BatchNorm statistics among them"
    spec = torch.load(path, weights_only=True)["visionkit"]["model"]["backbone"]
    assert (spec["frozen_stages"], spec["batch_norm"], spec["initialized_from"]) == (4, "frozen", str(trained[source]))


@pytest.mark.parametrize("source", ["classification", "detection"])
def test_a_segmenter_starts_with_the_backbone_and_trains_it(source, trained, tmp_path):
    given, learned = of_backbone(trained[source]), of_backbone(trained["segmentation"])
    assert not torch.equal(given["layer4.1.conv2.weight"], learned["layer4.1.conv2.weight"])
    path = fit("segmentation", tmp_path, f"model.backbone.weights={trained[source]}", "optimizer.lr=1.0e-6")
    learned = of_backbone(path)
    for key in (key for key in given if key.endswith(("conv1.weight", "conv2.weight"))):
        assert not torch.equal(given[key], learned[key]), f"{key} has not been trained"
        assert torch.allclose(given[key], learned[key], rtol=0, atol=1e-5), f"{key} did not start where it was"


def test_a_frozen_network_learns_in_its_head_alone(trained, tmp_path):
    words = [f"model.backbone.weights={trained['classification']}", "model.backbone.frozen_stages=all"]
    path = fit("classification", tmp_path, *words)
    moments = torch.load(path, weights_only=True)["optimizer_states"][0]["state"]
    assert len(moments) == 2, "weight and bias of the last layer"


def test_stages_are_unfrozen_as_in_the_recipe(trained, tmp_path):
    words = ["model.backbone.frozen_stages=all", "trainer.max_epochs=3"]
    steps = "unfreeze=[{epoch: 1, frozen_stages: 3, warmup_steps: 2}, {epoch: 2, frozen_stages: 2}]"
    path = fit("classification", tmp_path, f"model.backbone.weights={trained['detection']}", *words, steps)
    given, learned = of_backbone(trained["detection"]), of_backbone(path)
    moved = {key.split(".")[0] for key in given if not torch.equal(given[key], learned[key])}
    assert moved == {"layer3", "layer4"}


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("unfreeze=[{epoch: 1, frozen_stage: 3}]", "unknown key unfreeze.0.frozen_stage; did you mean frozen_stages"),
        ("unfreeze=[{epoch: soon, frozen_stages: 3}]", "unfreeze.0.epoch is 'soon'"),
        ("unfreeze={epoch: 1, frozen_stages: 4}", "4 stages are frozen at first"),
        ("unfreeze=3", "unfreeze must hold keys"),
        ("model.backbone.frozen_stages=most", "frozen_stages is 'most'"),
    ],
)
def test_mistakes_are_errors(word, message, trained, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(RECIPES["classification"])
    words = [f"model.backbone.weights={trained['detection']}", "model.backbone.frozen_stages=all"]
    assert main(["fit", "mine.yaml", *words, word]) == 2
    told = capsys.readouterr().err.partition("visionkit: ")[2]
    assert message in told
    assert len(told.strip().splitlines()) <= 5


@pytest.mark.parametrize("recipe", ["transfer_head", "transfer_finetune"])
def test_transfer_without_weights_is_refused(recipe, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.delenv("VISIONKIT_WEIGHTS", raising=False)
    assert main(["fit", recipe]) == 2
    assert "resnet50" in capsys.readouterr().err
    if recipe == "transfer_head":
        assert main(["fit", recipe, "model.backbone.weights=none"]) == 2
        assert "would freeze the randomly initialized weights of resnet50" in capsys.readouterr().err
