"""Speed of training step and inference of classifiers, compared with torchvision in a plain loop.

On a CPU, CPU seconds of one core are measured, because other processes disturb them less than wall time.

Run by hand: pytest -m benchmark -s tests/benchmarks/test_classification_speed.py
"""

import statistics
import time

import pytest
import torch
import torchvision
from torch.nn import functional

from visionkit.backbones import create_backbone
from visionkit.data.batch import Batch
from visionkit.models import create_model
from visionkit.pipelines import RuntimeOptions
from visionkit.preprocessing.classification import ClassificationPreprocessOptions
from visionkit.tasks import Classification

ON_GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda" if ON_GPU else "cpu")
IMAGES, SIDE = (64, 224) if ON_GPU else (4, 128)
CLASSES = 1000
WARM_UP, ROUNDS = (5, 31) if ON_GPU else (2, 15)
KINDS = ("training step", "inference")
BOUND = 1.03

pytestmark = pytest.mark.benchmark


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def by_task(name, **runtime):
    """Return functions for our training step and inference."""
    torch.manual_seed(0)
    network = create_model("classifier", create_backbone(name, weights="none"), CLASSES)
    names = [f"class {label}" for label in range(CLASSES)]
    options = RuntimeOptions(**runtime)
    task = Classification(network, names, preprocess=ClassificationPreprocessOptions(SIDE, SIDE), runtime=options).to(
        DEVICE
    )
    options.start_training(network)
    task.log_training_losses = lambda *given: None  # there is no trainer that would take them
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9)

    def step(images, labels):
        set_mode(task, training=True)
        batch = Batch(images, [{"label": label, "image_id": 0} for label in labels])
        optimizer.zero_grad()
        task.training_step(batch, 0).backward()
        optimizer.step()

    @torch.inference_mode()
    def classify(images, labels):
        set_mode(task, training=False)
        return task(images)

    return step, classify


def by_hand(name):
    """Return the same functions for torchvision in a plain loop."""
    torch.manual_seed(0)
    network = torchvision.models.get_model(name, weights=None).to(DEVICE, memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9)
    mean, std = (torch.tensor(values, device=DEVICE).view(3, 1, 1) for values in ((0.485, 0.456, 0.406), (0.229,) * 3))

    def prepared(images):
        batch = (torch.stack(images).float() / 255 - mean) / std
        return batch.contiguous(memory_format=torch.channels_last)

    def step(images, labels):
        set_mode(network, training=True)
        optimizer.zero_grad()
        loss = functional.cross_entropy(network(prepared(images)), torch.tensor(labels, device=DEVICE))
        loss.backward()
        loss.item()  # for the log
        optimizer.step()

    @torch.inference_mode()
    def classify(images, labels):
        set_mode(network, training=False)
        return network(prepared(images)).softmax(dim=1)

    return step, classify


def set_mode(module, training):
    """Set the mode once, as trainers do; setting it for each batch would be part of the measured time."""
    if module.training != training:
        module.train(training)


def seconds(run, images, labels):
    synchronise, clock = (torch.cuda.synchronize, time.perf_counter) if ON_GPU else (lambda: None, time.process_time)
    synchronise()
    start = clock()
    run(images, labels)
    synchronise()
    return clock() - start


def compared(ours, theirs):
    """Return the median seconds of both and the median of their ratio, from alternating rounds."""
    generator = torch.Generator().manual_seed(0)
    images = list(torch.randint(0, 256, (IMAGES, 3, SIDE, SIDE), dtype=torch.uint8, generator=generator).to(DEVICE))
    labels = list(range(IMAGES))
    times = []
    for round_number in range(WARM_UP + ROUNDS):
        order = [ours, theirs] if round_number % 2 == 0 else [theirs, ours]  # neither always follows the other
        taken = {run: seconds(run, images, labels) for run in order}
        times.append((taken[ours], taken[theirs]))
    ratio = statistics.median(own / their for own, their in times[WARM_UP:])
    return *(statistics.median(column) for column in zip(*times[WARM_UP:], strict=True)), ratio


@pytest.mark.parametrize("name", ["resnet50", "densenet121"])
@pytest.mark.parametrize("which", KINDS)
def test_the_task_takes_no_longer_than_a_loop_by_hand(name, which, capsys):
    place = KINDS.index(which)
    own, their, ratio = compared(by_task(name)[place], by_hand(name)[place])
    with capsys.disabled():
        print(f"\n{name}, {which} on {DEVICE}: visionkit {own:.3f} s, torchvision {their:.3f} s, ratio {ratio:.3f}")
    assert ratio <= BOUND


@pytest.mark.parametrize("flag", [{"channels_last": True}, {"compile": True}], ids=lambda flag: next(iter(flag)))
@pytest.mark.parametrize("which", KINDS)
def test_what_the_runtime_flags_bring(flag, which, capsys):
    place = KINDS.index(which)
    without = {key: not value for key, value in flag.items()}
    on, off, ratio = compared(by_task("resnet50", **flag)[place], by_task("resnet50", **without)[place])
    with capsys.disabled():
        print(f"\nresnet50, {which} on {DEVICE}: {flag} {on:.3f} s, {without} {off:.3f} s, ratio {ratio:.3f}")
    if "channels_last" in flag:
        assert ratio <= BOUND
