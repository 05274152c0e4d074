"""Damaged XML files of CVAT and LabelMe."""

from tests.robustness.cases.exports import kind_of_exports

KIND = kind_of_exports("cvat", "labelme_xml")
