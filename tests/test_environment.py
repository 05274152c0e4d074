import subprocess
import sys

from tests import environment
from tests.environment import installed_distributions, problems


def test_this_environment_is_clean():
    assert problems(installed_distributions()) == []
    assert subprocess.run([sys.executable, environment.__file__], check=False).returncode == 0


def test_copyleft_packages_and_second_opencv_wheels_are_found():
    assert len(problems({"torch", "ultralytics", "albumentationsx"})) == 2
    assert problems({"opencv-python", "opencv-python-headless"})
    assert not problems({"opencv-python-headless"})
