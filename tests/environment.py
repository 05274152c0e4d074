"""Packages that must not be installed together with visionkit; run as a script or by tests/test_environment.py."""

import importlib.metadata
import sys

COPYLEFT = {"albumentationsx", "ultralytics"}
OPENCV_WHEELS = {
    "opencv-python",
    "opencv-python-headless",
    "opencv-contrib-python",
    "opencv-contrib-python-headless",
}


def problems(installed: set[str]) -> list[str]:
    """Return the problems of a set of installed distributions, one sentence each."""
    found = [f"{name} is licensed under AGPL and must not be installed" for name in sorted(COPYLEFT & installed)]
    wheels = sorted(OPENCV_WHEELS & installed)
    if len(wheels) > 1:
        found.append(f"{' and '.join(wheels)} overwrite each other's files: keep one")
    return found


def installed_distributions() -> set[str]:
    """Names of all installed distributions, in lower case."""
    return {found.metadata["Name"].lower() for found in importlib.metadata.distributions()}


if __name__ == "__main__":
    sys.exit("\n".join(problems(installed_distributions())) or None)
