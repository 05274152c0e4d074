"""Checks of the training objects before the first step: classes without objects and objects without an anchor."""

import logging

from visionkit.data.datasets.base import VisionDataset
from visionkit.data.stats.object_sizes import object_sizes
from visionkit.errors import DataError
from visionkit.models.base import DetectionModel
from visionkit.ops.anchor_iou import best_anchor_iou
from visionkit.preprocessing.detection import DetectionPreprocessing
from visionkit.text import format_list

REACHED_IOU = 0.5
MOST_UNREACHED = 0.1
"""Share of unmatched objects from which a warning is logged."""

logger = logging.getLogger("visionkit")


def report_absent_classes(dataset: VisionDataset) -> None:
    """Log the classes without objects in the training split, which cannot be learned.

    Raises:
        DataError: the split has no objects.
    """
    absent = set(range(len(dataset.class_names)))
    for index in range(len(dataset)):
        annotation = dataset.annotation(index)
        absent.difference_update(annotation.labels[~annotation.crowd].tolist())
        if not absent:
            return
    names = format_list([dataset.class_names[label] for label in sorted(absent)])
    if len(absent) == len(dataset.class_names):
        raise DataError(
            f"no image of train has an object of {names}: there is nothing to learn\n"
            "check the card with `visionkit data check`"
        )
    logger.warning("no image of train has an object of %s: nothing will be learned about them", names)


def report_anchor_coverage(
    network: DetectionModel, preprocessing: DetectionPreprocessing, dataset: VisionDataset, most: int = 2000
) -> None:
    """Log the share of training objects that no anchor matches with IoU 0.5, over at most `most` images.

    Args:
        network: detection model. Nothing is logged if it has no `anchor_shapes`.
        preprocessing: preprocessing of the task.
        dataset: the training split.
        most: largest number of images that are read.
    """
    objects = object_sizes(dataset, preprocessing.geometry, most)
    any_input = preprocessing.geometry(*dataset.image_size(0)).input_size
    shapes = network.anchor_shapes(any_input)
    if shapes is not None and len(objects) and len(shapes):
        share = (best_anchor_iou(objects, shapes) < REACHED_IOU).float().mean().item()
        logger.log(
            logging.WARNING if share > MOST_UNREACHED else logging.INFO,
            "anchors: no anchor reaches %.1f %% of %d objects with IoU %g at input scale",
            100 * share,
            len(objects),
            REACHED_IOU,
        )
