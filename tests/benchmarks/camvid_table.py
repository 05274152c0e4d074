"""CamVid: the published schedules on a GPU, or equal training time on a CPU.

    python -m tests.benchmarks.camvid_table full DATA OUTPUT [key=value ...]
    python -m tests.benchmarks.camvid_table short DATA OUTPUT [network ...]

DATA is the folder of the card camvid. Prints a markdown table of the metrics on the test images, and keeps it in
OUTPUT/table.md. `full` trains the recipes of `FULL` as they are, FC-DenseNet once more on whole images (`WHOLE`), as
its paper does, and appends the table to docs/results.md. `short` gives every network of `SHORT` the same crops,
optimizer and about the same 20 minutes of one CPU core; $VISIONKIT_WEIGHTS holds the weights of EfficientNet-Lite0.
"""

import os
import sys
from pathlib import Path

import yaml

from tests.benchmarks.schedules import fit_and_test, last_run, show

FULL = {
    "fc_densenet56": "58.9",
    "segnet": "60.1",
    "fcn8s_vgg16": "57.0",
    "unet": "-",
    "fc_densenet67": "65.8",
    "fc_densenet103": "66.9",
}
"""Recipes, the lighter ones first, and the published mIoU (Jégou 2016, table 3; SegNet: Badrinarayanan 2016)."""

RESULTS = Path(__file__).parents[2] / "docs" / "results.md"

WHOLE = [
    "optimizer.lr=1.0e-4",
    "data.batch_size=1",
    "optimizer.base_batch_size=1",
    "data.augment=[{name: HorizontalFlip, p: 0.5}]",
    "early_stopping.patience=50",
]
"""FC-DenseNet's second stage (Jégou 2016, section 4.1), as the header of recipes/fc_densenet56.yaml has it."""

SHORT = {
    "patch classifier": ({"name": "patch_classifier", "backbone": {"name": "patch_cnn_33", "weights": "none"}}, 16),
    "FCN-8s, EfficientNet-Lite0": ({"name": "fcn8s", "backbone": {"name": "timm/tf_efficientnet_lite0"}}, 64),
    "U-Net": ({"name": "unet", "backbone": {"name": "unet", "weights": "none"}}, 6),
    "FC-DenseNet56": ({"name": "fc_densenet", "backbone": {"name": "fc_densenet56", "weights": "none"}}, 6),
    "U-Net, EfficientNet-Lite0": ({"name": "unet", "backbone": {"name": "timm/tf_efficientnet_lite0"}}, 36),
}
"""Networks and the epochs that 20 minutes of one core are enough for."""

RECIPE = {
    "task": "segmentation",
    "preprocess": {"scale": 0.5},
    "optimizer": {"name": "adamw", "lr": 0.001, "weight_decay": 1e-4, "base_batch_size": 8},
    "schedule": {"name": "cosine", "warmup_steps": 50},
    "loss": {"class_weights": "median_frequency"},
    "data": {
        "batch_size": 8,
        "num_workers": 1,
        "augment": [{"name": "RandomCrop", "height": 256, "width": 256}, {"name": "HorizontalFlip", "p": 0.5}],
    },
    "trainer": {
        "accelerator": "cpu",
        "gradient_clip_val": 10.0,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    },
}
"""What the networks of `short` share: half the images' size, crops of 128 pixels there."""

COLUMNS = ("mIoU", "pixel_accuracy", "mean_accuracy")


def full(data: Path, words: list[str]) -> None:
    """Measure a row for each recipe: published metrics, ours, and minutes; append the table to the results page."""
    card = ["camvid", f"data.root={data}", *words]
    rows = []
    for recipe, published in FULL.items():
        metrics, minutes, _ = fit_and_test(recipe, card, "best")
        if recipe.startswith("fc_densenet"):
            best = last_run(recipe) / "best.ckpt"
            metrics, more, _ = fit_and_test(recipe, [*card, *WHOLE, f"model.weights={best.resolve()}"], "best")
            minutes += more
        rows.append([recipe, published, *percent(metrics), f"{minutes:.0f}"])
        show(["recipe", "published mIoU", *COLUMNS, "minutes"], rows)
    command = " ".join(["python -m tests.benchmarks.camvid_table full DATA OUTPUT", *words])
    with RESULTS.open("a") as page:
        page.write(f"\n## CamVid: the published schedules\n\n    {command}\n\n{Path('table.md').read_text()}")


def short(data: Path, chosen: list[str]) -> None:
    """Measure a row for each network: epochs, metrics and CPU minutes."""
    rows = []
    for name in chosen or SHORT:
        model, epochs = SHORT[name]
        file = f"{name.replace(' ', '_').replace(',', '').lower()}"
        trainer = {**RECIPE["trainer"], "max_epochs": epochs, "check_val_every_n_epoch": max(epochs // 6, 1)}
        Path(f"{file}.yaml").write_text(yaml.safe_dump({**RECIPE, "model": model, "trainer": trainer}))
        metrics, _, minutes = fit_and_test(f"{file}.yaml", ["camvid", f"data.root={data}"])
        rows.append([name, str(epochs), *percent(metrics), f"{minutes:.0f}"])
        show(["network", "epochs", *COLUMNS, "CPU minutes"], rows)


def percent(metrics: dict[str, float]) -> list[str]:
    """Return the metrics of the columns."""
    return [f"{100 * metrics[name]:.1f}" for name in COLUMNS]


if __name__ == "__main__":
    kind, data, output, *words = sys.argv[1:]
    root = Path(data).resolve()
    Path(output).mkdir(parents=True, exist_ok=True)
    os.chdir(output)
    {"full": full, "short": short}[kind](root, words)
