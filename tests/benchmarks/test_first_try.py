"""The benchmark of the first try: cards, runs and table on tiny made data, and the plain scripts for two steps."""

import csv
import importlib
import io
import json
from argparse import Namespace

import numpy as np
import pytest
import torch
from PIL import Image

from tests.benchmarks.first_try import __main__ as command_line
from tests.benchmarks.first_try import cards, runs
from tests.benchmarks.first_try.runs import FailedError, Run
from tests.benchmarks.first_try.settings import SETTINGS
from tests.benchmarks.first_try.table import HEAD, markdown_table
from tests.benchmarks.plain import shared
from tests.helpers.real_data import real_data
from tests.helpers.voc_files import OBJECT, xml
from visionkit.cli.config.build import build_data
from visionkit.cli.config.compose import compose
from visionkit.cli.config.schema import check
from visionkit.cli.main import main

SIDE = 64
POTHOLES = ["pic-164-_a", "pic-164-_b", "pic-279-_a", "pic-279-_b", *(f"pic-{number}-_" for number in range(20))]


def write_image(path, values=range(256), mode="RGB", size=(SIDE, SIDE)):
    """Write an image of random pixels with these values."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (size[1], size[0], 3) if mode == "RGB" else (size[1], size[0])
    Image.fromarray(np.random.default_rng(0).choice(values, shape).astype(np.uint8)).save(path)


def write_voc(root, counts, classes):
    for split, count in counts.items():
        names = [f"{split}{number}" for number in range(count)]
        cards.write_lines(root / "ImageSets" / "Main" / f"{split}.txt", names)
        for name in names:
            write_image(root / "JPEGImages" / f"{name}.jpg", size=(60, 40))
            objects = "".join(OBJECT.format(5, 6, 30, 35, name=name, more="") for name in classes)
            cards.write_lines(root / "Annotations" / f"{name}.xml", [xml(objects)])


def write_coco(root):
    categories = [{"id": number, "name": name} for number, name in ((1, "cat"), (3, "dog"))]
    for split in ("train2017", "val2017"):
        images = [{"id": number, "file_name": f"{number}.jpg", "width": SIDE, "height": SIDE} for number in range(2)]
        box = {"category_id": 3, "bbox": [5, 5, 30, 20], "area": 600, "segmentation": [[5, 5, 35, 5, 35, 25, 5, 25]]}
        objects = [{"id": number, "image_id": number, "iscrowd": 0, **box} for number in range(2)]
        for image in images:
            write_image(root / split / image["file_name"])
        text = json.dumps({"images": images, "annotations": objects, "categories": categories})
        cards.write_lines(root / "annotations" / f"instances_{split}.json", [text])


def write_camvid(root):
    for split, count in (("train", 60), ("val", 2), ("test", 2)):
        names = [f"{number}.png" for number in range(count)]
        cards.write_lines(root / f"{split}.txt", [f"{split}/{name} {split}annot/{name}" for name in names])
        for name in names:
            write_image(root / split / name)
            write_image(root / f"{split}annot" / name, range(12), "L")


def write_cifar(root):
    root.mkdir()
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG")
    images = [np.frombuffer(file.getvalue(), np.uint8)] * 50
    offsets = np.cumsum([0, *map(len, images)])
    arrays = {"jpeg": np.concatenate(images), "offsets": offsets, "labels": np.arange(50) % 10}
    for split in ("train", "test"):
        np.savez(root / f"{split}_jpeg.npz", **arrays, class_names=[f"class{number}" for number in range(10)])


def write_ccp(root):
    rows = [["file", "split", "outfit", "has_bag", "tags"]]
    for split, count in (("train", 6), ("val", 2)):
        for number in range(count):
            write_image(root / "images" / split / f"{number}.jpg")
            write_image(root / "masks_9" / split / f"{number}.png", range(9), "L")
            tags = ["skin", *(["bag"] if number < 5 else []), *(["watch"] if number < 4 else [])]
            rows.append([f"{split}/{number}.jpg", split, "dress", "1", ";".join(tags)])
    with (root / "image_labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The folders and files that the cards need, with tiny images."""
    root = tmp_path_factory.mktemp("data")
    write_voc(root / "bccd", {"train": 60, "val": 2, "test": 2}, ["RBC", "WBC", "Platelets"])
    write_voc(root / "voc2007-mini", {"train": 2, "val": 2}, ["cat", "dog"])
    write_coco(root / "coco-mini")
    write_camvid(root / "camvid")
    write_cifar(root / "cifar10")
    write_ccp(root / "ccp-multitask")
    for number in range(10):
        write_image(root / "isbi-membrane" / "images" / f"{number}.png", mode="L")
        write_image(root / "isbi-membrane" / "labels" / f"{number}.png", (0, 255), "L")
    yolo = root / "annotation-formats" / "yolo_segment_potholes"
    for number, name in enumerate(POTHOLES):
        split = ("train", "val")[number % 2]
        write_image(yolo / "images" / split / f"{name}.jpg")
        cards.write_lines(yolo / "labels" / split / f"{name}.txt", ["0 0.1 0.1 0.6 0.1 0.6 0.5"])
    return root


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("out")


def opened(card):
    return build_data(compose([str(card)]).values)


@pytest.mark.parametrize("name", SETTINGS)
def test_the_data_check_accepts_each_card_and_best_fits_it(name, data, out):
    card = runs.prepare(name, out, data)
    assert main(["data", "check", str(card)]) == 0
    assert SETTINGS[name].split in opened(card).splits
    assert set(compose([str(card)]).values) <= {"data", "evaluation"}  # no training options
    recipe = compose([*SETTINGS[name].best.split(), str(card)])
    check(recipe)
    assert recipe.values["model"]["backbone"]["name"] == "timm/tf_efficientnet_lite0"


def test_subsets_have_their_sizes_and_are_the_same_again(data, out, tmp_path):
    for name, count in (("bccd-50", 50), ("camvid-50", 50), ("potholes", 16)):
        first, second = (opened(runs.prepare(name, folder, data)) for folder in (out, tmp_path))
        ids = [[part.dataset("train").image_id(index) for index in range(count)] for part in (first, second)]
        assert ids[0] == ids[1]
        assert len(first.dataset("train")) == count
    assert len(set(cards.sample(POTHOLES, 8))) == 8
    held_out = [first.dataset("val").image_id(index) for index in range(8)]
    assert len(first.dataset("val")) == 8
    assert not [image for image in held_out if "pic-164" in str(image) or "pic-279" in str(image)]


def test_folders_of_classes_have_the_asked_number_of_images(data, tmp_path):
    cards.write_class_folders(data / "cifar10" / "train_jpeg.npz", tmp_path / "few", 3)
    files = sorted(path.name for path in (tmp_path / "few" / "class4").iterdir())
    assert len(files) == 3
    assert all(int(name[:-4]) % 10 == 4 for name in files)
    assert len(list((tmp_path / "few").iterdir())) == 10


def test_rare_tags_are_left_out(data, out):
    found = opened(runs.prepare("ccp-labels", out, data))
    assert found.class_names == ["bag", "skin"]
    assert [found.dataset("train").tags(index).tolist() for index in (0, 5)] == [[0, 1], [1]]


def test_real_subsets(tmp_path):
    root = real_data("bccd").parent
    found = opened(runs.prepare("bccd-50", tmp_path, root))
    assert [len(found.dataset(split)) for split in ("train", "val", "test")] == [50, 87, 72]
    potholes = opened(runs.prepare("potholes", tmp_path, root))
    assert [len(potholes.dataset(split)) for split in ("train", "val")] == [16, 8]
    assert sum(len(potholes.dataset(split).annotation(i)) for split in ("train", "val") for i in range(8)) > 30


CLOCKED = "tests.benchmarks.first_try.cpu_minutes"


@pytest.fixture
def commands(monkeypatch):
    """Record commands instead of running them; `fit` writes checkpoints and `score` metrics, and "camvid" fails."""
    ran = []

    def pretend(words, folder, log, core, limit):
        ran.append(words)
        if "camvid" in folder.parts:
            raise FailedError("out of memory")
        if "fit" in words and words[0] == CLOCKED:
            for name in ("best", "last"):
                cards.write_lines(folder / "runs" / "recipe" / "1" / f"{name}.ckpt", [])
        if "fit" not in words:
            place = folder / words[-1] if words[0] == "visionkit" else folder
            cards.write_lines(
                place / "metrics.json", [json.dumps({"overall": {"mIoU": 0.5, "AP50": 0.25, "AP": None}})]
            )

    monkeypatch.setattr(runs, "run_pinned", pretend)
    return ran


def test_runs_are_recorded_skipped_when_finished_and_repeated_when_failed(
    commands, data, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("VISIONKIT_DATA", str(data))
    monkeypatch.setenv("VISIONKIT_WEIGHTS", str(data))
    words = [
        str(tmp_path),
        "--settings",
        "camvid,bccd",
        "--systems",
        "visionkit,plain",
        "--minutes",
        "5",
        "--seeds",
        "1",
    ]
    command_line.main(words)
    records = {record["setting"]: record for record in runs.read_records(tmp_path) if record["system"] == "visionkit"}
    assert records["camvid"]["failure"] == "out of memory"
    assert records["bccd"]["metrics"] == {"AP50": 0.25, "AP": None}
    assert records["bccd"].keys() >= {"wall_seconds", "cpu_seconds", "versions", "seed", "minutes", "core"}
    assert commands[2][:2] == [CLOCKED, "fit"]
    assert commands[2][3:] == ["--minutes", "5", "seed=1", "data.num_workers=0"]
    assert commands[3] == ["visionkit", "test", "runs/recipe/1/best.ckpt", "--output", "metrics"]
    assert commands[4][:2] == ["tests.benchmarks.plain.detection", "fit"]
    assert len(commands) == 6
    command_line.main(words)
    assert len(commands) == 8  # the two that failed
    capsys.readouterr()
    command_line.main([str(tmp_path), "--table"])
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "| " + " | ".join(HEAD) + " |"
    assert printed[2] == "| bccd | AP50 | 5 | 25.0 |  | 25.0 | +0.0 |  | 0.0 |"
    assert printed[3] == "| camvid | mIoU | 5 | 1 failed |  | 1 failed |  |  |  |"


def test_where_val_is_scored_the_last_checkpoint_is_scored_too(commands, data, out):
    run = Run("isbi-membrane", "best", 1.0, 0)
    record = runs.measure(run, runs.prepare(run.setting, out, data), out / run.name, 0)
    assert record["metrics"]["mIoU"] == record["last_metrics"]["mIoU"] == 0.5
    assert commands[0][:3] == [CLOCKED, "fit", "unet_few_images"]
    assert commands[2] == ["visionkit", "validate", "runs/recipe/1/last.ckpt", "--output", "last_metrics"]


def test_a_run_that_another_process_measures_is_left_out(commands, data, tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "try_lock", lambda file: False)
    runs.measure_all([Run("bccd", "plain", 1.0, 0)], tmp_path, data, 0)
    assert not commands


def test_a_failing_command_ends_with_its_output(tmp_path):
    with pytest.raises(FailedError, match=r"no recipe or data card(.|\n)*CalledProcessError: visionkit fit no_recipe"):
        runs.run_pinned(["visionkit", "fit", "no_recipe"], tmp_path, "fit.log", 0, 60)


def record(system, value, seed=0, cpu=300.0, **more):
    given = {"setting": "isbi-membrane", "system": system, "minutes": 5.0, "seed": seed}
    return {**given, "cpu_seconds": cpu, "wall_seconds": 300.0, "metrics": {"mIoU": value}, **more}


def test_the_table_has_means_deviations_and_differences():
    found = [record("visionkit", 0.5), record("visionkit", 0.6, 1), record("plain", 0.52, cpu=200.0)]
    found += [record("best", 0.54, cpu=200.0, last_metrics={"mIoU": 0.53})]
    row = "| isbi-membrane | mIoU | 5 | 52.0 | 54.0 (last 53.0) | 55.0 ± 7.1 | +3.0 | +1.0 | 5.0 |"
    assert markdown_table(found).splitlines()[2] == row


def test_an_unknown_setting_is_refused(capsys):
    with pytest.raises(SystemExit):
        command_line.main(["out", "--settings", "bccd,bcd"])
    assert "'bcd' is not one of bccd" in capsys.readouterr().err


class TwoSteps:
    """A clock that allows two steps, which begin at 0 and at 0.4 of the time."""

    def __init__(self):
        self.shares = iter([0.0, 0.0, 0.1, 0.4, 0.5])

    def share(self):
        return next(self.shares, 1.1)


SMALL = {
    "detection": {"short_side": 64, "batch": 2},
    "segmentation": {"scale": 0.5, "crop": 64, "batch": 2},
    "classification": {"size": 32},
}


@pytest.mark.parametrize("name", ["bccd", "coco-masks", "camvid", "cifar10-20", "ccp-labels"])
def test_plain_scripts_train_and_score(name, data, out, tmp_path, monkeypatch):
    setting = SETTINGS[name]
    script, *words = setting.plain.split()
    timm = pytest.importorskip("timm")
    pytest.importorskip("segmentation_models_pytorch" if script == "segmentation" else "sklearn")
    module = importlib.import_module(f"tests.benchmarks.plain.{script}")
    torch.manual_seed(0)
    torch.save(timm.create_model("tf_efficientnet_lite0").state_dict(), tmp_path / shared.WEIGHTS)
    monkeypatch.setenv("VISIONKIT_WEIGHTS", str(tmp_path))
    given = {**module.DEFAULTS, **shared.values(words), **SMALL[script], "seed": 0, "split": setting.split}
    clock = Namespace(share=lambda: 0.0) if script == "classification" else TwoSteps()
    options = Namespace(data=opened(runs.prepare(name, out, data)), clock=clock, **given)
    overall = module.score(options, module.fit(options)).overall
    assert set(setting.metrics) <= set(overall)
    assert 0 <= overall[setting.metrics[0]] <= 1


def test_the_learning_rate_rises_and_falls_over_the_time():
    optimizer = torch.optim.SGD([{"params": [torch.zeros(1)], "lr": lr} for lr in (1.0, 0.1)])
    steps = shared.batches([0], optimizer, TwoSteps())
    rates = [[group["lr"] for group in optimizer.param_groups] for _ in steps]
    assert rates == [[pytest.approx(0.04), pytest.approx(0.004)], [pytest.approx(0.75), pytest.approx(0.075)]]
