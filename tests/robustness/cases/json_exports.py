"""Damaged JSON files of LabelMe, VIA, Create ML and Label Studio."""

from tests.robustness.cases.exports import kind_of_exports

KIND = kind_of_exports("labelme", "via", "via_project", "createml", "label_studio", "label_studio_old")
