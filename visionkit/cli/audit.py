"""`visionkit data audit`: faults of a dataset, as text, as an HTML page, and as a cleaned card."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from visionkit.backbones import Backbone, create_backbone
from visionkit.cli.config.build import build_data, build_task, with_split_options
from visionkit.cli.config.compose import find_file, is_folder, is_override
from visionkit.cli.logs import show_progress_messages
from visionkit.data.datamodule import VisionData
from visionkit.data.datasets.base import formats
from visionkit.data.io.atomic_write import write_text
from visionkit.data.stats.object_sizes import object_sizes
from visionkit.engine.audit.cleaning import Cleaning, clean
from visionkit.engine.audit.finding import SEVERITIES, Severity
from visionkit.engine.audit.run import AuditReport, run_audit
from visionkit.engine.audit.subject import MOST_IMAGES, AuditSubject, QuickModelOptions, read_subject
from visionkit.errors import ConfigError, DataError
from visionkit.option_checks import check_at_least
from visionkit.registry import suggest
from visionkit.report.audit_page import GENERATOR, write_audit_page
from visionkit.report.page_file import check_overwritten
from visionkit.tasks.detection import Detection
from visionkit.text import counted

NEVER, NO_BACKBONE = "never", "none"
FAIL_ON: dict[str, tuple[Severity, ...]] = {"error": ("error",), "warning": ("error", "warning"), NEVER: ()}
"""Severities with which the exit status is 1, by the value of --fail-on."""

FEATURES = "runs/features"
"""Default folder of cached features."""

DEFAULT_BACKBONE = "timm/tf_efficientnet_lite0"
"""Backbone of --weights without --backbone."""

LOOKED_FOR = (DEFAULT_BACKBONE, "resnet50", "resnet18", "densenet121", "resnet34", "resnet101")
"""Backbones whose published weights are looked for on disk, in this order. Small ones are enough for a quick model."""

FIRST_FEW = 3
"""Findings of each kind that are printed."""


def audit(
    recipe: dict[str, Any],
    *,
    words: Sequence[str],
    output: str | None = None,
    write: str | None = None,
    fail_on: str = "error",
    backbone: str | None = None,
    weights: str | None = None,
    features: str = FEATURES,
    split: str | None = None,
    count: int | None = None,
    groups: str | None = None,
) -> int:
    """Audit the dataset of a card, and print the findings.

    Args:
        recipe: the composed card, with a recipe if its anchors are compared with the objects.
        words: the words of the command line.
        output: HTML file to write; None writes none.
        write: cleaned data card to write; None writes none.
        fail_on: severity from which the exit status is 1: error, warning, or never.
        backbone: backbone of the quick models; None takes one whose weights are on disk, "none" makes no such check.
        weights: file of its weights; None looks for published ones on disk.
        features: folder of cached features; "" caches nothing.
        split: only this split.
        groups: which images belong together, see `find_groups`; None takes the rule of `data.holdout`, else "auto".
        count: largest number of images whose features are computed; None takes the default.

    Returns:
        1 if there are findings of such a severity, otherwise 0.
    """
    if fail_on not in FAIL_ON:
        raise ConfigError(f"--fail-on {fail_on}: it is one of {', '.join(FAIL_ON)}{suggest(fail_on, FAIL_ON)}")
    page, card = (None if path is None else Path(path) for path in (output, write))
    if page is not None:
        check_overwritten(page, GENERATOR)
    if card is not None:
        check_overwritten(card, GENERATOR)
    show_progress_messages()
    quick = _quick_model(backbone, weights, features, count)
    data, subject = _read({"data": recipe["data"]}, [split] if split else None)
    subject.quick = quick
    subject.group_rule = groups or subject.group_rule
    subject.anchors = _anchors(recipe, data)
    report = run_audit(subject)
    for line in _lines(report):
        Console().print(line, soft_wrap=True, markup=False, highlight=False)
    if page is not None:
        write_audit_page(report, data, page, _title(recipe))
        size = f"{page.stat().st_size / 1e6:.1f} MB"
        Console().print(f"{page} ({size}): open it in a browser", soft_wrap=True, markup=False, highlight=False)
    if card is not None:
        for line in _write_card(card, clean(report, data.splits.excluded), recipe, words):
            Console().print(line, soft_wrap=True, markup=False, highlight=False)
    return int(any(report.count(severity) for severity in FAIL_ON[fail_on]))


def _read(recipe: dict[str, Any], splits: list[str] | None) -> tuple[VisionData, AuditSubject]:
    """Read the dataset, with the masks of its objects if the format and the files have them."""
    with_masks = formats.options_for(recipe["data"]["format"], "masks")
    if with_masks:
        try:
            data = build_data(with_split_options(recipe, with_masks))
            return data, read_subject(data, splits)
        except DataError:  # about the masks, or raised again below
            pass
    data = build_data(recipe)
    return data, read_subject(data, splits)


def _quick_model(name: str | None, weights: str | None, folder: str, count: int | None) -> QuickModelOptions:
    """Return the options of the quick models. Nothing is downloaded."""
    most = MOST_IMAGES if count is None else count
    check_at_least(1, count=most)
    cache = Path(folder) if folder else None
    if name == NO_BACKBONE:
        return QuickModelOptions(missing="--backbone none was given")
    if weights is not None:
        return QuickModelOptions(create_backbone(name or DEFAULT_BACKBONE, weights=weights), cache, most)
    found = next(filter(None, map(_from_disk, [name] if name else LOOKED_FOR)), None)
    missing = (
        f"no pretrained weights of {name or 'a backbone'} at hand: give --backbone NAME --weights FILE, "
        "or set $VISIONKIT_WEIGHTS to their folder"
    )
    return QuickModelOptions(found, cache, most, missing)


def _from_disk(name: str) -> Backbone | None:
    """Return a backbone with its published weights; None if they are not on disk."""
    try:
        published = create_backbone(name, weights="none").published_weights()
    except ConfigError:
        if name in LOOKED_FOR:  # timm is not installed
            return None
        raise
    path = None if published is None else published.on_disk()
    return None if path is None else create_backbone(name, weights=str(path))


def _anchors(recipe: dict[str, Any], data: VisionData) -> Any:
    """Return the anchors of the recipe's detector and the sizes of the training objects, in pixels of its input."""
    if recipe.get("task") != "detection" or "train" not in [*data.splits]:
        return None
    model = {**recipe["model"], "weights": None, "backbone": {**recipe["model"]["backbone"], "weights": "none"}}
    task = build_task({**recipe, "model": {key: value for key, value in model.items() if value is not None}}, data)
    assert isinstance(task, Detection)
    preprocessing, dataset = task.model_pipeline.preprocessing, data.dataset("train")
    objects = object_sizes(dataset, preprocessing.geometry, 2000)
    shapes = task.model_pipeline.network.anchor_shapes(preprocessing.geometry(*dataset.image_size(0)).input_size)
    return None if shapes is None or not len(shapes) else (shapes.float().numpy(), objects.float().numpy())


def _title(recipe: dict[str, Any]) -> str:
    root = recipe["data"].get("root")
    return Path(root).resolve().name if root else str(recipe["data"]["format"])


def _lines(report: AuditReport) -> Iterator[str]:
    """Yield the lines of the report: each kind with its first findings, what was not made, and the totals."""
    names = {(image.split, image.index): image.name for image in report.subject.images}
    for kind, findings in report.by_kind.items():
        severity = findings[0].severity
        if severity == "note":
            yield from (f"note     {kind}: {finding.message}" for finding in findings)
            continue
        yield f"{severity.upper():8} {kind}: {len(findings)}"
        for finding in findings[:FIRST_FEW]:
            where = [f"{ref.split} {names[ref.split, ref.index]}" for ref in finding.images[:1]]
            yield f"           {': '.join([*where, finding.message])}"
        if len(findings) > FIRST_FEW:
            yield f"           ... and {len(findings) - FIRST_FEW} more"
    for made in report.made:
        if not made.result.was_made:
            yield f"not made {made.name.replace('_', ' ')}: {made.result.measured}"
        elif made.name.endswith("suspects"):
            yield f"measured {made.name.replace('_', ' ')}: {made.result.measured}"
    counts = ", ".join(counted(report.count(severity), severity) for severity in SEVERITIES)
    seconds = sum(made.seconds for made in report.made)
    images = len(report.subject.images)
    flagged = len(report.flagged_images())
    yield f"{counts}; errors and warnings in {flagged} of {images} images; {seconds:.0f} s"


def _write_card(path: Path, cleaning: Cleaning, recipe: dict[str, Any], words: Sequence[str]) -> Iterator[str]:
    """Write the cleaned card, and yield what it leaves out."""
    files = [word for word in words if not is_override(word)]
    exclude = {"data": {"exclude": cleaning.as_values()}}
    if len(files) == 1 and len(words) == 1 and not is_folder(files[0]):
        base = os.path.relpath(find_file(files[0]).resolve(), path.resolve().parent)
        values: dict[str, Any] = {"base": Path(base).as_posix(), **exclude}
    else:
        values = {"data": {**recipe["data"], **exclude["data"]}}
    header = f"# Written by {GENERATOR}: leaves out what is wrong without doubt. Nothing is deleted.\n"
    write_text(path, header + yaml.safe_dump(values, sort_keys=False, allow_unicode=True))
    yield f"{path} leaves out:"
    for kind, (images, objects) in cleaning.reasons.items():
        yield f"  {kind}: {counted(images, 'image') if images else counted(objects, 'object')}"
    if not cleaning.reasons:
        yield "  nothing: no finding is without doubt"
