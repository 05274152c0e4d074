"""The task of several heads: each is trained exactly as alone, with the images that have its labels."""

import lightning.pytorch as pl
import pytest
import torch

import visionkit as vk
from tests.helpers.small_multi import HEADS, multi_data, multi_task, single_task
from tests.helpers.small_trainer import small_trainer
from visionkit.data.batch import Batch
from visionkit.errors import ConfigError, DataError
from visionkit.metrics.results import MetricResults
from visionkit.ops import waiting


class Losses(pl.Callback):
    """Callback that keeps the loss of each step."""

    def __init__(self):
        self.values = []

    def on_train_batch_end(self, trainer, pl_module, outputs, *_):
        self.values.append(outputs["loss"].item())


def train(task, data):
    """Train ten steps, and return the loss of each."""
    losses = Losses()
    pl.seed_everything(3, verbose=False)
    small_trainer(callbacks=[losses], max_epochs=-1, max_steps=10, limit_val_batches=0).fit(task, data)
    assert len(losses.values) == 10
    return losses.values


def weights_of(task, head=None):
    """Return the weights of a head and of the backbone, by their names in the model alone."""
    prefix = f"heads.{head}." if head else ""
    state = task.network.state_dict()
    wanted = {name: value for name, value in state.items() if name.startswith(("backbone.", prefix))}
    return {name.removeprefix(prefix): value for name, value in wanted.items()}


def assert_same_weights(alone, joint, head):
    own, other = weights_of(alone), weights_of(joint, head)
    shared = own.keys() & other.keys()
    assert len(shared) == len(own)
    different = [name for name in shared if not torch.equal(own[name], other[name])]
    assert not different


@pytest.mark.parametrize("head", HEADS)
def test_one_head_is_trained_bit_for_bit_as_alone(head):
    alone, data = single_task(head)
    joint = multi_task(multi_data(head))
    assert_same_weights(alone, joint, head)
    assert train(alone, data) == train(joint, multi_data(head))
    assert_same_weights(alone, joint, head)


@pytest.mark.parametrize("head", HEADS)
def test_a_second_head_with_the_weight_0_changes_nothing(head):
    alone, data = single_task(head)
    expected = train(alone, data)
    other = "tags" if head != "tags" else "objects"
    for heads in ([head, other], [other, head]):
        joint = multi_task(multi_data(*heads), weights={other: 0.0})
        assert train(joint, multi_data(*heads)) == expected
        assert_same_weights(alone, joint, head)


def test_a_second_head_with_a_weight_changes_the_backbone():
    alone, data = single_task("objects")
    joint = multi_task(multi_data("objects", "tags"))
    assert train(joint, multi_data("objects", "tags"))[0] > train(alone, data)[0]
    with pytest.raises(AssertionError):
        assert_same_weights(alone, joint, "objects")


ALL = ("objects", "regions", "tags")


def labeled(*heads):
    """Return a task of three heads, and a batch of one image for each of `heads`, the heads that have labels for it."""
    data = multi_data(*ALL)
    task = multi_task(data)
    whole = next(iter(data.val_dataloader()))
    targets = [{**target, "heads": of_image} for target, of_image in zip(whole.targets, heads, strict=False)]
    return task, Batch(whole.images[: len(heads)], targets)


def passes(task, call):
    calls = []
    hook = task.backbone.register_forward_hook(lambda module, inputs, output: calls.append(len(inputs[0])))
    call()
    hook.remove()
    return calls


def test_an_image_contributes_to_the_heads_that_it_has_labels_for():
    task, batch = labeled(("objects",), ("objects", "tags"), ("tags",), ("objects",))
    losses = task.training_losses(batch, 0)
    assert {name.split("/")[0] for name in losses} == {"objects", "tags"}
    task.backbone.eval()  # the statistics of BatchNorm would change with each pass
    for head, rows in (("objects", [0, 1, 3]), ("tags", [1, 2])):
        part = Batch([batch.images[row] for row in rows], [batch.targets[row] for row in rows])
        for name, loss in task.heads[head].training_losses(part, 0).items():
            torch.testing.assert_close(task.training_losses(batch, 0)[f"{head}/{name}"], loss)


def test_the_gradient_of_a_partly_labeled_batch_reaches_its_heads_only():
    task, batch = labeled(("objects",), ("tags",))
    torch.stack(list(task.training_losses(batch, 0).values())).sum().backward()
    has_gradient = {
        name: any(p.grad is not None and bool(p.grad.any()) for p in head.parameters())
        for name, head in task.network.heads.items()
    }
    assert has_gradient == {"objects": True, "regions": False, "tags": True}


def test_a_head_is_scored_on_its_own_images_only():
    task, batch = labeled(("objects",), ("objects", "tags"), ("tags",), ("tags",))
    task.eval()
    with torch.inference_mode():
        task.score_predictions(batch)
    ids = {name: sorted({row["image_id"] for row in rows}) for name, rows in rows_of(task).items()}
    assert ids["tags"] == [1, 2, 3]
    assert set(ids["objects"]) <= {0, 1}
    assert ids["regions"] == []


def rows_of(task):
    for head in task.heads.values():
        head.computed_metrics = head.metric.compute
    return {name: head.predictions_for_json() for name, head in task.heads.items()}


def test_images_with_all_labels_and_with_some_share_the_pass():
    task, batch = labeled(ALL, ("tags",), ("tags", "objects"), ("tags",))
    assert passes(task, lambda: task.training_losses(batch, 0)) == [4]
    task, batch = labeled(("objects",), ("tags",))
    assert passes(task, lambda: task.training_losses(batch, 0)) == [1, 1]


def test_a_head_with_the_weight_0_is_not_computed():
    data = multi_data("objects", "tags")
    task, batch = multi_task(data, weights={"tags": 0.0}), next(iter(data.val_dataloader()))
    assert {name.split("/")[0] for name in task.training_losses(batch, 0)} == {"objects"}


def test_the_metric_over_the_heads_is_their_mean_or_the_mean_relative_change():
    task = multi_task(multi_data(*ALL))
    found = {
        "objects": MetricResults({"AP": 0.3, "AP50": 0.9}),
        "regions": MetricResults({"mIoU": 0.5}),
        "tags": MetricResults({"mAP": 0.7}),
    }
    assert task.monitor == "val/mean_metric"
    overall = task.metric.combined(found).overall
    assert overall["mean_metric"] == pytest.approx(0.5)
    assert "relative_change" not in overall
    assert (overall["objects/AP50"], overall["regions/mIoU"], overall["tags/mAP"]) == (0.9, 0.5, 0.7)

    reference = {"objects": 0.4, "regions": 0.4, "tags": 0.7}  # -25 %, +25 %, 0 %: not the change of the mean
    task.set_evaluation(vk.MultiEvaluationOptions(reference={**reference, "tags": 0.5}))
    overall = task.metric.combined(found).overall
    assert task.monitor == "val/relative_change"
    assert overall["relative_change"] == pytest.approx((-25 + 25 + 40) / 3)
    assert overall["mean_metric"] == pytest.approx(0.5)
    task.set_evaluation(vk.MultiEvaluationOptions(reference=reference))
    assert task.metric.combined(found).overall["relative_change"] == pytest.approx(0)


def test_the_main_metric_of_a_head_can_be_another():
    task = multi_task(multi_data("objects", "tags"))
    task.set_head_evaluation("tags", vk.ClassificationEvaluationOptions(metric="F1"))
    found = {"objects": MetricResults({"AP": 0.2}), "tags": MetricResults({"mAP": 0.9, "F1": 0.4})}
    assert task.metric.combined(found).overall["mean_metric"] == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda data: multi_task(data, weights={"tag": 1.0}), "weights: there is no head 'tag'; did you mean tags"),
        (lambda data: multi_task(data, weights={"objects": 0, "tags": 0}), "weights: all are 0"),
        (
            lambda data: multi_task(data, evaluation=evaluation(tag=0.5)),
            "reference: there is no head 'tag'; did you mean",
        ),
        (lambda data: multi_task(data, evaluation=evaluation(tags=0.5)), "single-task model is missing for objects"),
        (lambda data: evaluation(tags=0.0), "reference={'tags': 0.0} must be above 0"),
        (lambda data: multi_task(data).set_head_evaluation("tag", None), "no head 'tag'; did you mean tags"),
        (lambda data: with_tasks(multi_task(data), tags=None), "heads: tags needs the task of the pipeline"),
        (lambda data: with_tasks(multi_task(data), tags=multi_task(data).heads["tags"]), "heads: tags needs the task"),
    ],
)
def test_heads_that_do_not_exist_are_named(make, message):
    with pytest.raises(ConfigError, match=message):
        make(multi_data("objects", "tags"))


def evaluation(**reference):
    return vk.MultiEvaluationOptions(reference=reference)


def with_tasks(task, **changed):
    heads = {name: head for name, head in {**task.heads, **changed}.items() if head is not None}
    return vk.MultiTask(task.pipeline, heads)


@pytest.mark.parametrize("balancing", ["gradnorm", "pcgrad"])
def test_gradients_of_a_frozen_backbone_cannot_be_compared(balancing):
    data = multi_data("objects", "tags")
    task = multi_task(data, name=balancing)
    task.backbone.requires_grad_(False)
    with pytest.raises(
        ConfigError, match=rf"{balancing} compares gradients of the backbone, and all of it is frozen\n"
    ):
        small_trainer().fit(task, data)


@pytest.mark.parametrize("balancing", ["fixed", "pcgrad"])
def test_heads_with_a_shared_pyramid_are_trained(balancing):
    """The backbone is frozen, so that gradients of the pyramid are all that PCGrad can compare."""
    data, logged = multi_data("objects", "proposed"), Logged()
    task = multi_task(data, share_pyramid=True, name=balancing, cosine_every=1)
    task.backbone.requires_grad_(False)
    pyramid = task.network.head("objects").neck.inner_blocks[0][0].weight
    before = pyramid.detach().clone()
    small_trainer(callbacks=[logged], max_epochs=-1, max_steps=2, limit_val_batches=0).fit(task, data)
    assert not torch.equal(pyramid, before)
    assert task.network.head("proposed").neck.inner_blocks[0][0].weight is pyramid
    assert all(abs(step["train/cosine/objects-proposed_step"]) > 0 for step in logged.steps)


@pytest.mark.parametrize("balancing", ["fixed", "uncertainty"])
def test_heads_on_a_frozen_backbone_are_trained(balancing):
    data = multi_data("objects", "tags")
    task = multi_task(data, name=balancing, cosine_every=1)
    task.backbone.requires_grad_(False)
    before = weights_of(task, "tags")["head.fc.weight"].clone()
    trainer = small_trainer(max_epochs=-1, max_steps=2, limit_val_batches=0)
    trainer.fit(task, data)
    assert not torch.equal(weights_of(task, "tags")["head.fc.weight"], before)
    assert not any("cosine" in name for name in trainer.logged_metrics)


def test_other_data_than_those_of_several_heads_are_refused():
    task = multi_task(multi_data("objects", "tags"))
    with pytest.raises(ConfigError, match="a MultiTask is trained with a MultiData"):
        small_trainer().fit(task, single_task("objects")[1])


class Logged(pl.Callback):
    """Callback that keeps the names that each step logs."""

    def __init__(self):
        self.steps = []

    def on_train_batch_end(self, trainer, *_):
        self.steps.append({name: value.item() for name, value in trainer.callback_metrics.items() if "cosine" in name})


def test_the_cosine_similarity_is_logged_from_time_to_time():
    data, logged = multi_data(*ALL), Logged()
    task = multi_task(data, cosine_every=2)
    trainer = small_trainer(callbacks=[logged], max_epochs=-1, max_steps=4, limit_val_batches=0)
    trainer.fit(task, data)
    found = [{name for name in step if name.endswith("_step")} for step in logged.steps]
    pairs = {f"train/cosine/{pair}_step" for pair in ("objects-regions", "objects-tags", "regions-tags")}
    assert found[0] == set()
    assert found[1] == pairs
    assert logged.steps[1] == logged.steps[2] != logged.steps[3], "measured at every second step"
    assert all(-1 <= value <= 1 for step in logged.steps for value in step.values())


def test_a_precision_that_a_head_does_not_allow_is_refused():
    data = multi_data("tags", "objects")
    with pytest.raises(ConfigError, match=r"trainer.precision=bf16-true would also round the boxes"):
        small_trainer(precision="bf16-true").fit(multi_task(data), data)


def test_each_head_checks_its_own_targets_before_they_go_to_a_gpu(monkeypatch):
    data = multi_data("objects", "tags")
    task, batch = multi_task(data), next(iter(data.train_dataloader()))
    monkeypatch.setattr(waiting, "HOSTS", frozenset())
    assert task.on_before_batch_transfer(batch, 0) is batch
    wrong = {**batch.targets[0], "boxes": torch.ones(1, 4), "labels": torch.tensor([0])}
    with pytest.raises(DataError, match="no area"):
        task.on_before_batch_transfer(batch._replace(targets=[{**wrong, "heads": ("objects",)}, *batch.targets[1:]]), 0)
    unlabeled = batch._replace(targets=[{**wrong, "heads": ("tags",)}, *batch.targets[1:]])
    assert task.on_before_batch_transfer(unlabeled, 0) is unlabeled
