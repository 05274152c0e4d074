"""Damaged XML files of CVAT."""

from tests.robustness.cases.exports import kind_of_exports

KIND = kind_of_exports("cvat")
