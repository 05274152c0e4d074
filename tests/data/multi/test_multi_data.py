import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from tests.helpers.cards_of_one_folder import KINDS, csv_card, three_cards, write_folder
from visionkit.data.datamodule import VisionData
from visionkit.data.multi.multi_data import MultiData
from visionkit.data.proposals.proposal_source import ProposalOptions
from visionkit.data.samplers import Place
from visionkit.errors import ConfigError

SPLITS = {"train": {"count": 10, "size": 64}, "val": {"count": 5, "size": 64, "split": "val"}}
FLIP = [{"name": "HorizontalFlip"}]


def shapes(splits=SPLITS, **options):
    return VisionData("shapes", splits=splits, **{"num_workers": 0, **options})


def multi(sources, kinds, **options):
    return MultiData(sources, kinds, **{"batch_size": 4, "num_workers": 0, **options})


def boxes_and_tags(card_options=None, **options):
    """Two heads of one card."""
    given = card_options or {}
    sources = {"objects": {"shapes": shapes(**given)}, "tags": {"shapes": shapes(required="tags", **given)}}
    return multi(sources, {"objects": "boxes", "tags": "tags"}, **options)


def two_cards(**options):
    sources = {
        "objects": {"a": shapes(augment=FLIP), "b": shapes({"train": {"count": 4, "size": 48}})},
        "kind": {"c": shapes({"train": {"count": 9, "size": 32, "empty_share": 0.0}}, required="label")},
    }
    return multi(sources, {"objects": "boxes", "kind": "label"}, **options)


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.setenv("PL_GLOBAL_SEED", "5")


@pytest.mark.parametrize("sampling", ["proportional", "temperature", "round_robin"])
@pytest.mark.parametrize("workers", [0, 2])
def test_one_card_gives_the_images_and_order_of_its_own_data(sampling, workers):
    card = shapes(augment=FLIP, batch_size=4)
    data = multi({"objects": {"shapes": card}}, {"objects": "boxes"}, sampling=sampling, num_workers=workers)
    for loader in ("train_dataloader", "val_dataloader"):
        own, joined = list(getattr(card, loader)()), list(getattr(data, loader)())
        assert [batch.image_ids for batch in joined] == [batch.image_ids for batch in own]
        for batch, expected in zip(joined, own, strict=True):
            assert all(map(torch.equal, batch.images, expected.images))
            for target, known in zip(batch.targets, expected.targets, strict=True):
                assert target["heads"] == ("objects",)
                assert torch.equal(target["boxes"], known["boxes"])


def test_batches_have_the_labels_of_all_heads(tmp_path):
    write_folder(tmp_path, {"train": ["a", "b", "c", "d"], "val": ["e"]})
    sources = three_cards(tmp_path, ("train", "val"), augment=FLIP)
    data = multi(sources, KINDS)
    (batch,) = data.train_dataloader()
    for image, target in zip(batch.images, batch.targets, strict=True):
        number = int(image[0, 0, 0]) // 10
        assert target["heads"] == ("objects", "regions", "tags")
        assert target["image_id"] == 10 * number
        assert target["tags"].tolist() == [number % 2]
        assert (target["semantic"] == number % 2).all()
        assert round(target["boxes"][0, 0].item()) in (1 + number, 30 - 11 - number)
    data.tested_split = "val"
    assert [batch.image_ids for batch in data.test_dataloader()] == [[40]]
    assert data.class_names == ["objects/thing", "regions/sea", "regions/land", "tags/even", "tags/odd"]


def test_a_card_with_another_augmentation_is_augmented_as_it_says(tmp_path):
    write_folder(tmp_path, {"train": ["a", "b"]})
    sources = three_cards(tmp_path)
    sources["tags"] = {"csv": csv_card(tmp_path, augment=[{"name": "CenterCrop", "height": 8, "width": 8}])}
    (batch,) = multi(sources, KINDS).train_dataloader()
    sizes = {target["heads"]: image.shape for image, target in zip(batch.images, batch.targets, strict=True)}
    assert sizes == {("objects", "regions"): (3, 20, 30), ("tags",): (3, 8, 8)}
    assert all(target["size"] == (20, 30) for target in batch.targets)


def drawn(data, monkeypatch, rank=0, processes=1, epoch=0):
    monkeypatch.setattr(data, "_place", lambda: Place(rank, processes))
    sampler = data.train_dataloader().sampler
    sampler.set_epoch(epoch)
    return list(sampler)


@pytest.mark.parametrize("sampling", ["proportional", "temperature", "round_robin"])
def test_the_order_follows_from_seed_and_epoch_and_is_shared_out(sampling, monkeypatch):
    data = two_cards(sampling=sampling)
    assert data.dataset("train").group_names == ["a", "b", "c"]
    alone = drawn(data, monkeypatch)
    assert len(alone) == 23
    assert alone == drawn(two_cards(sampling=sampling), monkeypatch)
    assert alone != drawn(data, monkeypatch, epoch=1)
    parts = [drawn(data, monkeypatch, rank, 2) for rank in (0, 1)]
    assert [len(part) for part in parts] == [12, 12]
    monkeypatch.setenv("PL_GLOBAL_SEED", "6")
    assert alone != drawn(data, monkeypatch)


def test_temperature_and_sampling_reach_the_sampler(monkeypatch):
    def shares(**options):
        data = two_cards(**options)
        found = [key.number for key in drawn(data, monkeypatch)]
        return np.bincount(data.dataset("train").groups[found]).tolist()

    assert shares() == shares(sampling="temperature", temperature=1.0) == [10, 4, 9]
    assert shares(sampling="round_robin") == [8, 8, 7]
    assert shares(sampling="temperature", temperature=2.0) == [9, 6, 8]


class Recorder(pl.LightningModule):
    """A model that keeps the images of its training batches."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.seen = []

    def training_step(self, batch, index):
        self.seen.append([(target["image_id"], target["heads"], float(image.float().mean()), image[:, 0, 0].tolist())
                          for image, target in zip(batch.images, batch.targets, strict=True)])  # fmt: skip
        return self.layer(torch.zeros(1, 1)).sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


@pytest.mark.parametrize("sampling", ["proportional", "round_robin"])
def test_a_resumed_run_sees_the_rest_of_the_images(sampling, tmp_path):
    def fit(model, **options):
        saving = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=7, save_top_k=-1)
        trainer = pl.Trainer(
            accelerator="cpu", max_steps=9, logger=False, callbacks=[saving], enable_progress_bar=False,
            enable_model_summary=False, limit_val_batches=0,
        )  # fmt: skip
        trainer.fit(model, two_cards(sampling=sampling), **options)

    whole, rest = Recorder(), Recorder()
    fit(whole)
    fit(rest, ckpt_path=tmp_path / "step=7.ckpt")
    assert len(whole.seen) == 9, "two epochs of five batches, of which the second is left in the middle"
    assert rest.seen == whole.seen[7:]


def test_heads_and_cards_are_listed():
    data = two_cards()
    assert data.heads == ["objects", "kind"]
    assert data.cards_of("objects") == ["a", "b"]
    assert data.heads_of_card("c") == ["kind"]
    assert boxes_and_tags().heads_of_card("shapes") == ["objects", "tags"]
    with pytest.raises(ConfigError, match="the data have no head 'object'; did you mean objects"):
        data.cards_of("object")
    with pytest.raises(ConfigError, match="the data have no head 'x'; known: kind, objects"):
        data.of_head("x")
    with pytest.raises(ConfigError, match="there is no data card 'd'; known: a, b, c"):
        data.heads_of_card("d")


def test_the_data_of_a_head_are_those_of_its_cards():
    data = two_cards(batch_size=3)
    assert data.of_head("kind") is data.sources["kind"]["c"]
    objects = data.of_head("objects")
    assert objects is data.of_head("objects")
    assert objects.class_names == data.sources["objects"]["a"].class_names
    assert len(objects.dataset("train")) == 14
    assert [len(batch.images) for batch in objects.val_dataloader()] == [3, 2]
    counts = [objects.class_counts("train"), data.of_head("kind").class_counts("train")]
    assert data.class_counts("train").tolist() == np.concatenate(counts).tolist()


def test_heads_without_card_or_kind_are_refused():
    with pytest.raises(ConfigError, match="head regions has no data card: give it one"):
        multi({"objects": {"a": shapes()}, "regions": {}}, {"objects": "boxes", "regions": "semantic"})
    with pytest.raises(ConfigError, match="need at least one head"):
        multi({}, {})
    for kinds in ({}, {"objects": "box"}):
        with pytest.raises(ConfigError, match=r"kinds\['objects'\]=.* must be one of boxes, label, tags, semantic"):
            multi({"objects": {"a": shapes()}}, kinds)


@pytest.mark.parametrize(
    ("kind", "required", "needed"),
    [
        ("boxes", "label", "required=None or required='masks'"),
        ("label", None, "required='label'"),
        ("tags", "label", "required='tags'"),
        ("semantic", None, "required='semantic'"),
    ],
)
def test_cards_are_made_with_the_annotation_of_the_head(kind, required, needed):
    with pytest.raises(ConfigError, match=rf"card a are made with required={required!r}\n{kind} need {needed}"):
        multi({"head": {"a": shapes(required=required)}}, {"head": kind})


def test_options_that_cannot_be_used_are_refused():
    with pytest.raises(ConfigError, match=r"temperature=0.9 must be at least 1"):
        two_cards(temperature=0.9)
    with pytest.raises(ConfigError, match="sampling='equal' is unknown; known: proportional, round_robin, temperature"):
        two_cards(sampling="equal")
    with pytest.raises(ConfigError, match=r"the card a has data\.sampling: balanced"):
        multi({"kind": {"a": shapes(required="label", sampling="balanced")}}, {"kind": "label"})
    with pytest.raises(ConfigError, match="the card a has different augmentations in the heads objects and tags"):
        multi(
            {"objects": {"a": shapes(augment=FLIP)}, "tags": {"a": shapes(required="tags")}},
            {"objects": "boxes", "tags": "tags"},
        )
    with pytest.raises(ConfigError, match="batch_size=0 must be at least 1"):
        two_cards(batch_size=0)


def test_training_needs_images_of_every_head():
    only_val = {"val": SPLITS["val"]}
    data = multi(
        {"objects": {"a": shapes()}, "tags": {"b": shapes(only_val, required="tags")}},
        {"objects": "boxes", "tags": "tags"},
    )
    with pytest.raises(ConfigError, match="head tags has nothing to train on: no train split in b"):
        data.train_dataloader()
    assert len(list(data.val_dataloader())) == 3, "10 images in batches of 4"
    with pytest.raises(ConfigError, match="the data has no test split"):
        data.test_dataloader()


def test_proposals_are_those_that_all_cards_with_boxes_agree_on():
    some = {"proposals": ProposalOptions(mode="single", count=5, folder="")}
    data = boxes_and_tags(some, batch_size=1)
    assert next(iter(data.val_dataloader())).targets[0]["proposals"].shape == (5, 4)
    objects = {"objects": "boxes"}
    with pytest.raises(ConfigError, match=r"the cards a and b have different data\.proposals"):
        multi({"objects": {"a": shapes(**some), "b": shapes()}}, objects)
    with pytest.raises(ConfigError, match=r"the card b has data\.proposals, which only heads with boxes use"):
        multi({"objects": {"a": shapes()}, "tags": {"b": shapes(required="tags", **some)}}, {**objects, "tags": "tags"})


def test_the_bit_depth_is_that_of_all_cards(tmp_path):
    write_folder(tmp_path, {"train": ["a"]})
    assert multi(three_cards(tmp_path, bit_depth=12), KINDS).bit_depth == 12
    assert two_cards().bit_depth is None
