"""HTML page of a dataset: contact sheets, histograms, and what was repaired. It needs no network and no other file."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from visionkit.data.datamodule import VisionData
from visionkit.data.datasets.base import VisionDataset
from visionkit.data.stats.distributions import CELLS, LARGE, SIZE_NAMES, SMALL, Distributions, read_distributions
from visionkit.data.transforms.augmentation import Augmentation
from visionkit.errors import ConfigError, DataError
from visionkit.ops.palette import class_color
from visionkit.option_checks import check_at_least
from visionkit.report.charts import HEIGHT, WIDTH, Cell, Chart, heat_map, make_chart
from visionkit.report.page_file import check_overwritten, css_colors, template, write_page
from visionkit.report.thumbnails import Thumbnail, evenly_spaced, make_thumbnail
from visionkit.structures import Color

T = TypeVar("T")

IMAGES_PER_SPLIT = 60
AUGMENTED_IMAGES, DRAWS = 12, 4
"""Largest number of images that are shown after augmentation, and the number of draws of each."""

PAGE_BYTES = 15_000_000
"""Largest size of a page, about, with at most `IMAGES_PER_SPLIT` images of each split. Less images are shown if all
of them need more."""

BOX_BYTES = 210
"""Characters of an object in the page, beside its outline and twice the name of its class."""

TINY = 128
"""Images whose sides are shorter are enlarged without smoothing."""

GENERATOR = "visionkit data show"
"""Name in the page, by which it is recognized and may be overwritten."""


class SplitPage(NamedTuple):
    """What the page says about one split.

    Attributes:
        name: train, val or test.
        images: number of images.
        statistics: its distributions.
        thumbnails: evenly spaced images of it.
        asked: number of thumbnails without the limit of the page's size.
        centers: heat map of the box centers.
        report: what was repaired or skipped, by reason.
        problems: what is wrong.
    """

    name: str
    images: int
    statistics: Distributions
    thumbnails: list[Thumbnail]
    asked: int
    centers: list[Cell]
    report: dict[str, int]
    problems: list[str]


class Draws(NamedTuple):
    """An image and results of its augmentation."""

    original: Thumbnail
    augmented: list[Thumbnail]


class CountRow(NamedTuple):
    """Row of a table: a class, its counts by split, and their shares of the largest count of the split."""

    label: int
    counts: list[str]
    shares: list[float]


class CountTable(NamedTuple):
    """Counts of each class by split."""

    title: str
    rows: list[CountRow]


@dataclass(frozen=True)
class Classes:
    """Names and CSS colors of the classes, and the indices of those that the thumbnails show."""

    names: list[str]
    colors: list[str]
    shown: list[int]


def write_data_page(
    data: VisionData,
    path: Path,
    title: str,
    splits: Sequence[str] | None = None,
    count: int = IMAGES_PER_SPLIT,
    augment: bool = False,
) -> None:
    """Write the page of a dataset.

    Args:
        data: the dataset.
        path: HTML file to write. An earlier page is overwritten, other files are not.
        title: name of the dataset.
        splits: splits to show; None shows all.
        count: number of images of each split, which are evenly spaced. Less are shown if they need more than
            `PAGE_BYTES`, which grows with `count`.
        augment: also show training images after several draws of the augmentation.

    Raises:
        ConfigError: `count` is below 1, a split does not exist, there is no augmentation, or `path` is another file.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> import visionkit as vk
        >>> from visionkit.report.data_page import write_data_page
        >>> data = vk.VisionData("shapes", splits={"train": {"count": 4, "size": 64}}, num_workers=0)
        >>> path = Path(tempfile.mkdtemp()) / "data.html"
        >>> write_data_page(data, path, "shapes")
        >>> path.read_text().startswith("<!doctype html>")
        True
    """
    check_at_least(1, count=count)
    check_overwritten(path, GENERATOR)
    if augment and not data.augmentation:
        raise ConfigError("there is no data.augment to show\nadd a recipe before the data card, or leave out --augment")
    names = [*data.splits] if splits is None else [*splits]
    colors = data.class_colors or [class_color(label) for label in range(len(data.class_names))]
    budget = PAGE_BYTES * max(count / IMAGES_PER_SPLIT, 1) / (len(names) + augment)
    pages = [_limited(_read_split(name, data.dataset(name), colors, count), budget, data.class_names) for name in names]
    draws = [*_augmented(data, colors, min(count, AUGMENTED_IMAGES))] if augment else []
    draws = _within(draws, [_size_of([row.original, *row.augmented], data.class_names) for row in draws], budget)
    write_page(path, _render(title, pages, draws, data.class_names, colors))


def _read_split(name: str, dataset: VisionDataset, colors: list[Color], count: int) -> SplitPage:
    statistics = read_distributions(dataset, f"{name}: statistics")
    problems, thumbnails = [*statistics.problems], []
    for index in track(
        evenly_spaced(len(dataset), count), description=f"{name}: images", transient=True, console=Console(stderr=True)
    ):
        try:
            thumbnails.append(make_thumbnail(dataset[index], colors))
        except DataError as error:
            problems.append(str(error).splitlines()[0])
    faults = [*dict.fromkeys(problems)]
    centers = heat_map(statistics.center_map())
    return SplitPage(name, len(dataset), statistics, thumbnails, len(thumbnails), centers, dict(dataset.report), faults)


def _limited(page: SplitPage, budget: float, names: list[str]) -> SplitPage:
    """Return the page of a split with as many of its images as the budget in bytes allows."""
    sizes = [_size_of([thumbnail], names) for thumbnail in page.thumbnails]
    return page._replace(thumbnails=_within(page.thumbnails, sizes, budget))


def _size_of(thumbnails: Sequence[Thumbnail], names: list[str]) -> int:
    """Return the number of bytes that thumbnails need in the page, about."""
    uris = sum(len(image.uri) + sum(len(layer.uri) for layer in image.layers) for image in thumbnails)
    boxes = [box for image in thumbnails for box in image.boxes]
    return uris + sum(BOX_BYTES + len(box.path) + 2 * len(names[box.label].encode()) for box in boxes)


def _within(items: list[T], sizes: Sequence[int], budget: float) -> list[T]:
    """Return as many evenly spaced items as have at most a total size of `budget`, and at least one."""
    count = len(items)
    chosen = evenly_spaced(len(items), count)
    while count > 1 and sum(sizes[index] for index in chosen) > budget:
        count -= 1
        chosen = evenly_spaced(len(items), count)
    return [items[index] for index in chosen]


def _augmented(data: VisionData, colors: list[Color], count: int) -> Iterator[Draws]:
    dataset, augmentation = data.dataset("train"), data.augmentation
    augmentation.fit(dataset)
    for index in track(
        evenly_spaced(len(dataset), count), description="augmentation", transient=True, console=Console(stderr=True)
    ):
        try:
            original = make_thumbnail(dataset[index], colors)
        except DataError:  # listed with its split
            continue
        yield Draws(original, [_draw(dataset, augmentation, colors, index, draw) for draw in range(DRAWS)])


def _draw(dataset: VisionDataset, augmentation: Augmentation, colors: list[Color], index: int, draw: int) -> Thumbnail:
    augmentation.seed(index * DRAWS + draw)
    return make_thumbnail(augmentation(dataset[index]), colors)


def _render(title: str, pages: list[SplitPage], draws: list[Draws], names: list[str], colors: list[Color]) -> str:
    shown = [
        *(image for page in pages for image in page.thumbnails),
        *(image for row in draws for image in row.augmented),
    ]
    labels = {label for image in shown for label in image.classes}
    classes = Classes(names, css_colors(colors), sorted(labels))
    return template("data.html").render(
        title=title,
        generator=GENERATOR,
        pages=pages,
        draws=draws,
        classes=classes,
        frame=_frame(shown),
        is_tiny=all(max(image.view) < TINY for image in shown),
        has_boxes=any(image.boxes for image in shown),
        has_objects=any(len(page.statistics.boxes) for page in pages),
        has_ignored=any(page.statistics.ignored_pixels for page in pages),
        has_masks=any(image.layers or any(box.path for box in image.boxes) for image in shown),
        charts=_charts(pages),
        tables=[*_tables(pages)],
        tiny=TINY,
        plot={"width": WIDTH, "height": HEIGHT, "cells": CELLS},
        size_names=SIZE_NAMES,
        sides={"small": SMALL, "large": LARGE},
    )


def _frame(images: list[Thumbnail]) -> float:
    """Return the aspect ratio of the frames around the images, which suits most of them."""
    ratios = [image.view[1] / image.view[0] for image in images]
    return float(np.median(ratios).clip(0.75, 1.6)) if ratios else 1.0


def _charts(pages: list[SplitPage]) -> list[Chart]:
    by_split = {page.name: page.statistics for page in pages}
    has_objects = any(len(found.boxes) for found in by_split.values())
    sizes = {split: found.sizes for split, found in by_split.items()}
    charts = [
        make_chart("Image width in pixels", {split: size[:, 1] for split, size in sizes.items()}),
        make_chart("Image height in pixels", {split: size[:, 0] for split, size in sizes.items()}),
        make_chart(
            "Aspect ratio of the images (width / height)",
            {split: size[:, 1] / size[:, 0] for split, size in sizes.items()},
            per_octave=6,
        ),
    ]
    if has_objects:
        charts += [
            make_chart("Objects per image", {split: found.objects_per_image for split, found in by_split.items()}),
            make_chart(
                "Object size (square root of the area in pixels)",
                {split: np.sqrt(found.areas[found.areas > 0]) for split, found in by_split.items()},
                per_octave=3,
                marks=(SMALL, LARGE),
            ),
            make_chart("Aspect ratio of the boxes (width / height)", _box_ratios(by_split), per_octave=3),
        ]
    return [chart for chart in charts if chart is not None]


def _box_ratios(by_split: dict[str, Distributions]) -> dict[str, NDArray[np.generic]]:
    sides = {split: found.boxes[:, 2:] - found.boxes[:, :2] for split, found in by_split.items()}
    return {split: side[:, 0] / side[:, 1] for split, side in sides.items()}


def _tables(pages: list[SplitPage]) -> Iterator[CountTable]:
    """Yield the tables of counts by class, if there is anything to count."""
    found = [page.statistics for page in pages]
    if any(len(one.boxes) for one in found):
        yield _table("Objects of each class", [one.objects_per_class for one in found])
    if any(one.images_per_class.any() for one in found):
        yield _table("Images with each class", [one.images_per_class for one in found])
    if any(one.pixels is not None for one in found):
        empty = np.zeros_like(found[0].images_per_class)
        yield _table("Pixels of each class", [empty if one.pixels is None else one.pixels for one in found], True)


def _table(title: str, counts: list[NDArray[np.int64]], as_shares: bool = False) -> CountTable:
    largest = [max(int(column.max(initial=0)), 1) for column in counts]
    totals = [max(int(column.sum()), 1) for column in counts]
    rows = []
    for label in range(len(counts[0])):
        values = [int(column[label]) for column in counts]
        texts = [
            f"{100 * value / total:.2f} %" if as_shares else str(value)
            for value, total in zip(values, totals, strict=True)
        ]
        shares = [round(value / most, 4) for value, most in zip(values, largest, strict=True)]
        rows.append(CountRow(label, texts, shares))
    return CountTable(title, rows)
