"""Log messages about the training objects before the first step."""

import logging

import numpy as np
import pytest

from tests.helpers.one_stage_detectors import small as one_stage
from tests.helpers.small_detector import small_data, small_task
from tests.helpers.small_trainer import small_trainer
from visionkit.errors import DataError
from visionkit.models.base import DetectionModel
from visionkit.preprocessing.detection import DetectionPreprocessOptions
from visionkit.structures import Annotation
from visionkit.tasks.training_checks import report_absent_classes, report_anchor_coverage

NAMES = ["ant", "bee", "cow"]


class Images:
    """Annotations alone, of images of 64 x 64 pixels."""

    def __init__(self, *annotations):
        self.annotations, self.class_names = annotations, NAMES

    def __len__(self):
        return len(self.annotations)

    def annotation(self, index):
        return self.annotations[index]

    def image_size(self, index):
        return 64, 64


def annotation(boxes, labels, crowd=()):
    flags = np.array(crowd or [False] * len(labels), bool)
    corners = np.array(boxes, np.float32).reshape(-1, 4)
    difficult = np.zeros(len(labels), bool)
    return Annotation(corners, np.array(labels, np.int64), flags, difficult, np.ones(len(labels), np.float32))


SQUARE = [0, 0, 20, 20]


def test_classes_without_an_object_are_named_once(caplog):
    report_absent_classes(Images(annotation([SQUARE], [1]), annotation([SQUARE] * 2, [1, 0], [False, True])))
    assert [record.getMessage() for record in caplog.records] == [
        "no image of train has an object of ant, cow: nothing will be learned about them"
    ]


def test_nothing_is_said_where_every_class_has_one_and_no_more_is_read(caplog):
    report_absent_classes(Images(annotation([SQUARE] * 3, [0, 1, 2]), None))
    assert not caplog.records


def test_no_object_at_all_ends_it():
    with pytest.raises(DataError, match="no image of train has an object of ant, bee, cow: there is nothing to learn"):
        report_absent_classes(Images(annotation([], []), annotation([SQUARE], [1], [True])))


@pytest.mark.parametrize("name", ["faster_rcnn", "retinanet", "ssd", "yolov2"])
def test_objects_that_no_anchor_reaches_are_warned_of_with_their_share(name, caplog):
    """One of four objects is very thin; a crowd, which is ignored in the loss, does not count."""
    caplog.set_level(logging.INFO, "visionkit")
    network = small_task(NAMES).network if name == "faster_rcnn" else one_stage(name)
    preprocessing = DetectionPreprocessOptions(size=[128, 128], mean=[0.5] * 3, std=[0.5] * 3).module()
    shape = network.anchor_shapes((128, 128))[0] / 2  # of the stored image, which is half as large
    fitting = [0.0, 0.0, *shape.tolist()]
    images = Images(annotation([fitting] * 3 + [[0, 0, 64, 1], [0, 0, 1, 64]], [0] * 5, [False] * 4 + [True]))
    report_anchor_coverage(network, preprocessing, images)
    (said,) = caplog.records
    assert said.levelname == "WARNING"
    assert said.getMessage() == "anchors: no anchor reaches 25.0 % of 4 objects with IoU 0.5 at input scale"
    caplog.clear()
    report_anchor_coverage(network, preprocessing, Images(annotation([fitting], [0])))
    assert caplog.records[0].levelname == "INFO"


def test_networks_without_anchors_and_images_without_objects_have_nothing_to_report(caplog):
    preprocessing = DetectionPreprocessOptions(size=[64, 64], mean=[0.5] * 3, std=[0.5] * 3).module()
    for network in (DetectionModel(), one_stage("yolov1")):
        report_anchor_coverage(network, preprocessing, Images(annotation([SQUARE], [0])))
    report_anchor_coverage(one_stage("ssd"), preprocessing, Images(annotation([], [])))
    assert not caplog.records


def test_a_class_without_objects_is_trained_said_and_scored_as_none(tmp_path, caplog):
    data = small_data(train=4)
    train, val = data.dataset("train"), data.dataset("val")
    train.class_names = val.class_names = [*train.class_names, "yeti"]
    task = small_task(data.class_names)
    trainer = small_trainer(default_root_dir=tmp_path)
    trainer.fit(task, data)
    said = [record.getMessage() for record in caplog.records if "yeti" in record.getMessage()]
    assert len(said) == 1
    trainer.test(task, data, verbose=False)
    assert np.isnan(task.results.per_class["AP"]["yeti"])
    assert np.isfinite(task.results.overall["AP"])
