"""Damaged tables of Open Images, TensorFlow and VIA."""

from tests.robustness.cases.exports import kind_of_exports

KIND = kind_of_exports("open_images", "open_images_labels", "tf_csv", "via_csv")
