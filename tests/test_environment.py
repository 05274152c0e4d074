from tests.environment import installed_distributions, problems


def test_this_environment_is_clean():
    assert problems(installed_distributions()) == []


def test_copyleft_packages_and_second_opencv_wheels_are_found():
    assert len(problems({"torch", "ultralytics", "albumentationsx"})) == 2
    assert problems({"opencv-python", "opencv-python-headless"})
    assert not problems({"opencv-python-headless"})
