"""Damaged YOLO datasets of Ultralytics and Darknet."""

from tests.robustness.cases.exports import kind_of_exports

KIND = kind_of_exports("yolo", "darknet")
